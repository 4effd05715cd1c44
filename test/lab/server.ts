// The web server of a pod or node: one text on some ports of both families. Runs
// as a process of its own inside the namespace; says when it listens.
//
//   bun test/lab/server.ts TEXT PORT...

const [text = "", ...ports] = process.argv.slice(2);
for (const port of ports) Bun.serve({ hostname: "::", port: Number(port), fetch: () => new Response(text) });
console.error("listening");
