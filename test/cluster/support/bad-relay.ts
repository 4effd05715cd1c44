// A way to the API server of a lab that can be made bad while it is used. Listens for
// the lab's nodes and passes on to a port of the loopback; each line that it is told
// is done when it says so.
//
//   bun test/cluster/support/bad-relay.ts ADDRESS PORT TARGET PKI
//   delay MS    what the server says comes so late from now on
//   busy S      to new connections: 429, ask again in S seconds, as the server itself or
//               a balancer before it says; says who asked what and when. 0 ends it
//   hold        nothing comes through the connections that there are, which stay open
//   cut         they end
import { type LinkConditions, Relay } from "./slow-relay.ts";

const [address = "", port = "", target = "", pki = ""] = process.argv.slice(2);
const weather: LinkConditions = { delayMs: 0, target: Number(target) };
const relay = new Relay(address, Number(port), weather);
let retryAfter = 0;

const busy = Bun.serve({
  ...{ hostname: "127.0.0.1", port: 0 },
  tls: { cert: Bun.file(`${pki}/server.crt`), key: Bun.file(`${pki}/server.key`) },
  fetch({ url, headers }) {
    const { pathname, search } = new URL(url);
    const kind = search.includes("watch=true") ? "watch" : "other";
    console.error(`asked: ${Bun.hash(headers.get("Authorization") ?? "")} ${kind} ${pathname} ${Date.now()}`);
    const status = {
      kind: "Status",
      status: "Failure",
      code: 429,
      reason: "TooManyRequests",
      message: "busy",
    };
    return Response.json(status, { status: 429, headers: { "Retry-After": `${retryAfter}` } });
  },
});

const commands: Readonly<Record<string, (value: number) => void>> = {
  delay: (ms) => {
    weather.delayMs = ms;
  },
  busy: (seconds) => {
    retryAfter = seconds;
    weather.target = seconds === 0 ? Number(target) : (busy.port as number);
  },
  hold: () => relay.hold(),
  cut: () => relay.cut(),
};

console.error("listening");
for await (const line of console) {
  const [word = "", value] = line.split(" ");
  commands[word]?.(Number(value));
  console.error(`done: ${line}`);
}
