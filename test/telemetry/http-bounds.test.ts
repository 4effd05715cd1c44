// Clients that want more than a scrape: connections by the hundred, requests that never end, answers
// that nobody takes. Each is bounded, and whoever asks properly is answered.
import { afterEach, expect, test } from "bun:test";
import { HttpServer } from "../../src/telemetry/http.ts";
import { type Bounds, defaultBounds } from "../../src/telemetry/http-listener.ts";
import { formatHead, readRequest } from "../../src/wire/http.ts";
import { makeLog } from "./facts.ts";

const opened: Disposable[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one[Symbol.dispose]();
});

const bigBody = new Uint8Array(32 * 1024 * 1024);
const pages = {
  "/a": () => ({ status: 200, contentType: "text/plain", body: "x" }),
  "/big": () => ({ status: 200, contentType: "text/plain", body: bigBody }),
};

function serve(bounds: Partial<Bounds>) {
  const { lines, log } = makeLog();
  const server = new HttpServer({ pages, log, retryMs: 20, bounds: { ...defaultBounds, ...bounds } });
  opened.push(server);
  server.listen("127.0.0.1:0");
  return { port: server.port ?? 0, lines };
}

interface Client {
  readonly closed: Promise<string>;
  readonly isOpen: () => boolean;
  readonly write: (text: string) => void;
}

/** Connects, sends `text`, and collects what comes back; `reads`: false for one that takes nothing. */
async function connect(port: number, text = "", reads = true): Promise<Client> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let answer = "";
  let isOpen = true;
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (one) => {
        if (!reads) one.pause();
        one.write(text);
      },
      data: (_, bytes) => {
        answer += bytes.toString("latin1");
      },
      close: () => {
        isOpen = false;
        resolve(answer);
      },
      error: () => {},
    },
  });
  opened.push({ [Symbol.dispose]: () => socket.terminate() });
  return { closed: promise, isOpen: () => isOpen, write: (more) => void socket.write(more) };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await condition()) && performance.now() < deadline) await Bun.sleep(10);
  expect(await condition()).toBe(true);
}

const get = (port: number) => fetch(`http://127.0.0.1:${port}/a`).then((answer) => answer.status);

test("of one address only so many connections stay open, and one that ends makes room", async () => {
  const { port } = serve({ connectionsPerAddress: 4 });
  const clients = await Promise.all(Array.from({ length: 30 }, () => connect(port)));
  await until(() => clients.filter((client) => client.isOpen()).length === 4);
  await expect(get(port)).rejects.toThrow();
  clients.find((client) => client.isOpen())?.write("GET /a HTTP/1.1\r\n\r\n");
  await until(() => clients.filter((client) => client.isOpen()).length === 3);
  expect(await get(port)).toBe(200);
});

test("if too many are open in all, the oldest goes and the newest is answered", async () => {
  const { port } = serve({ connections: 5, connectionsPerAddress: 100 });
  const clients = await Promise.all(Array.from({ length: 30 }, () => connect(port)));
  await until(() => clients.filter((client) => client.isOpen()).length === 5);
  expect(await get(port)).toBe(200);
});

test("more in a second than are accepted: the port rests, says so once, and is there again", async () => {
  const { port, lines } = serve({ acceptsPerSecond: 10, connectionsPerAddress: 1000 });
  const flood = () =>
    Promise.allSettled(Array.from({ length: 40 }, () => connect(port, "GET /a HTTP/1.1\r\n\r\n")));
  await flood();
  await expect(get(port)).rejects.toThrow();
  await until(() =>
    get(port).then(
      (status) => status === 200,
      () => false,
    ),
  );
  await flood();
  expect(lines.filter((line) => line.includes("exceed the limit"))).toHaveLength(1);
  await until(() =>
    get(port).then(
      (status) => status === 200,
      () => false,
    ),
  );
});

test("a request that does not end in time is closed, however it drips; one that is too long or none is refused", async () => {
  const { port } = serve({ requestMs: 300 });
  const silent = await connect(port);
  const dripping = await connect(port, "GET /a HTTP/1.1\r\n");
  const drip = setInterval(() => dripping.isOpen() && dripping.write("x: y\r\n"), 20);
  expect([await silent.closed, await dripping.closed]).toEqual(["", ""]);
  clearInterval(drip);
  for (const text of [`GET /a HTTP/1.1\r\nx: ${"y".repeat(20_000)}`, "\r\n\r\n", "GET  /a HTTP/1.1\r\n\r\n"])
    expect(await (await connect(port, text)).closed).toStartWith("HTTP/1.1 400 Bad Request\r\n");
});

test("an answer that its client does not read is given up, and other clients are answered meanwhile", async () => {
  const { port } = serve({ totalMs: 500 });
  const slow = await connect(port, "GET /big HTTP/1.1\r\n\r\n", false);
  expect(await get(port)).toBe(200);
  await until(() => !slow.isOpen());
  // A client that reads it gets all of it.
  const answer = await fetch(`http://127.0.0.1:${serve({}).port}/big`);
  expect((await answer.bytes()).length).toBe(bigBody.length);
});

test.each([
  ["with query and fragment", "GET /a?b=c#d HTTP/1.1\r\nHost: x\r\n\r\n", { method: "GET", path: "/a" }],
  ["in absolute form", "HEAD http://n:1/metrics HTTP/1.0\n\n", { method: "HEAD", path: "/metrics" }],
  ["whose head goes on", "GET /a HTTP/1.1\r\nHost: x\r\n", "more"],
  ["of nothing yet", "", "more"],
  ["in lower case", "get /a HTTP/1.1\r\n\r\n", "malformed"],
  ["of another version", "GET /a HTTP/2\r\n\r\n", "malformed"],
  ["for no path", "GET a HTTP/1.1\r\n\r\n", "malformed"],
  ["of TLS", "\x16\x03\x01\x02\r\n\r\n", "malformed"],
  ["longer than any", "x".repeat(8192), "malformed"],
] as const)("a request %s", (_what, text, expected) => {
  expect(readRequest(new TextEncoder().encode(text))).toEqual(expected);
});

test("the head of an answer", () => {
  expect(new TextDecoder().decode(formatHead(503, "text/plain", 7))).toBe(
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 7\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
  );
});
