// The pages over a real socket on the loopback, and what happens where the
// address cannot be had.
import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HttpServer, type Pages } from "../../src/telemetry/http.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { agentPages } from "../../src/telemetry/pages.ts";
import { parseExposition } from "./exposition.ts";
import { makeFacts, makeLog } from "./facts.ts";

const patienceMs = 20_000;
setDefaultTimeout(2 * patienceMs);
const open: Disposable[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one[Symbol.dispose]();
});

function serve(pages: Pages = {}, retryMs = 20) {
  const { lines, log } = makeLog();
  const server = new HttpServer({ pages, log, retryMs });
  open.push(server);
  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, init);
    return {
      status: response.status,
      type: response.headers.get("content-type"),
      text: await response.text(),
    };
  };
  return { server, lines, get };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!condition() && performance.now() < deadline) await Bun.sleep(5);
  expect(condition()).toBe(true);
}

/** Everything that comes back for some bytes, until the server closes. */
async function talk(port: number, request: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let answer = "";
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void socket.write(request),
      data: (_, bytes) => {
        answer += bytes.toString();
      },
      close: () => resolve(answer),
    },
  });
  return promise;
}

test("the agent's pages: metrics, health and readiness with the reason", async () => {
  const stateDir = mkdtempSync(join(tmpdir(), "wgt-http-"));
  open.push({ [Symbol.dispose]: () => rmSync(stateDir, { recursive: true }) });
  const { facts, log, clock } = makeFacts(stateDir);
  const metrics = new Metrics(facts, log);
  open.push(metrics);
  const { server, get } = serve(agentPages(metrics));
  server.listen("127.0.0.1:0");
  metrics.passEnded("the store is locked");
  const scrape = await get("/metrics?ignored=1");
  expect(scrape).toMatchObject({ status: 200, type: "text/plain; version=0.0.4; charset=utf-8" });
  expect(parseExposition(scrape.text).get("wg_cni_ready")?.samples.get("wg_cni_ready")).toBe(0);
  expect(await get("/healthz")).toMatchObject({ status: 200, text: "ok\n" });
  expect(await get("/readyz")).toMatchObject({ status: 503, text: "the store is locked\n" });
  metrics.passEnded(undefined);
  expect(await get("/readyz")).toMatchObject({ status: 200, text: "ok\n" });
  clock.ms += 1_000_000;
  expect(await get("/healthz")).toMatchObject({ status: 503, text: expect.stringContaining("Restart it") });
});

test("another path says which there are; another method that there is only GET; HEAD has no body", async () => {
  const { server, get } = serve({ "/a": () => ({ status: 200, contentType: "text/plain", body: "x" }) });
  server.listen("127.0.0.1:0");
  expect(await get("/b")).toMatchObject({
    status: 404,
    text: "There is no page /b here; there are /a.\n",
  });
  expect(await get("/a", { method: "POST", body: "x" })).toMatchObject({ status: 405 });
  expect(await get("/a", { method: "HEAD" })).toMatchObject({ status: 200, text: "" });
});

test.each(["GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n"])(
  "a probe that names no host is answered: %j",
  async (request) => {
    const { server } = serve({ "/a": () => ({ status: 200, contentType: "text/plain", body: "x" }) });
    server.listen("127.0.0.1:0");
    expect(await talk(server.port ?? 0, request)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nx$/s);
  },
);

test("a page that fails is a 500 with the reason and a line in the log; the next request is served", async () => {
  let broken = true;
  const page = () => {
    if (broken) throw new Error("no memory");
    return { status: 200, contentType: "text/plain", body: "well" };
  };
  const { server, get, lines } = serve({ "/a": page });
  server.listen("127.0.0.1:0");
  expect(await get("/a")).toMatchObject({ status: 500, text: "no memory\n" });
  expect(lines.at(-1)).toContain("error a request for /a failed: no memory");
  broken = false;
  expect(await get("/a")).toMatchObject({ status: 200, text: "well" });
});

test("a port in use is said once, tried again, and served as soon as it is free", async () => {
  const first = serve();
  first.server.listen("127.0.0.1:0");
  const { port } = first.server;
  const { server, lines } = serve();
  server.listen(`127.0.0.1:${port}`);
  expect(server.port).toBeUndefined();
  await Bun.sleep(100);
  expect(lines).toEqual([
    `NOW error Cannot serve metrics and health at 127.0.0.1:${port}: another program listens there (EADDRINUSE). Choose another address with \`wg-cni up --metrics-address IP:PORT\`, or "off". It is tried again every 0.02 s.\n`,
  ]);
  first.server.listen("off");
  await until(() => server.port === port);
  expect(lines.at(-1)).toBe(`NOW info  metrics and health are served address=http://127.0.0.1:${port}\n`);
});

test("an address that the node does not have is a sentence too", () => {
  const { server, lines } = serve({}, 60_000);
  server.listen("[2001:db8::dead]:9586");
  expect(server.port).toBeUndefined();
  expect(lines.join("")).toMatch(
    /Cannot serve metrics and health at \[2001:db8::dead\]:9586: .*\(EADDRNOTAVAIL\)/,
  );
});

test("an exchanged address is served instead of the one before, the same one without a break, off not at all", async () => {
  const { server, lines, get } = serve({
    "/a": () => ({ status: 200, contentType: "text/plain", body: "x" }),
  });
  server.listen("127.0.0.1:0");
  server.listen("127.0.0.1:0");
  expect(lines).toHaveLength(1);
  expect(await get("/a")).toMatchObject({ status: 200 });
  const before = server.port;
  server.listen("off");
  expect(server.port).toBeUndefined();
  await expect(fetch(`http://127.0.0.1:${before}/a`)).rejects.toThrow();
});
