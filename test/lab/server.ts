// The web server of a pod or node: one text on port 8080 of both families. Runs
// as a process of its own inside the namespace; says when it listens.
//
//   bun test/lab/server.ts TEXT

const text = process.argv[2] ?? "";
Bun.serve({ hostname: "::", port: 8080, fetch: () => new Response(text) });
console.error("listening");
