// Asking the control plane, on the loopback interface: what counts as an answer,
// and that nobody is asked whom nobody wants to know about. Silence is the
// kernel tests' (kernel/agent/host.test.ts).
import { afterEach, describe, expect, test } from "bun:test";
import { ControlPlane } from "../../src/agent/control-plane.ts";
import type { IpPort } from "../../src/net/ip-port.ts";

const everyMs = 10;
const opened: Disposable[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one[Symbol.dispose]();
});

function listen(hostname: string) {
  const asked = { count: 0 };
  const server = Bun.listen({
    hostname,
    port: 0,
    socket: { open: () => void asked.count++, data: () => {} },
  });
  opened.push({ [Symbol.dispose]: () => server.stop(true) });
  return { address: { ip: hostname, port: server.port }, asked };
}

/** A port that nothing listens on: it was free a moment ago. */
function closedPort(ip: string): IpPort {
  const server = Bun.listen({ hostname: ip, port: 0, socket: { data: () => {} } });
  server.stop(true);
  return { ip, port: server.port };
}

/** Asks; `nextAnswer` waits for one more. */
function ask(addresses: readonly IpPort[]) {
  let resolve = () => {};
  const controlPlane = new ControlPlane(() => resolve());
  opened.push(controlPlane);
  const nextAnswer = () =>
    new Promise<void>((done) => {
      resolve = done;
    });
  controlPlane.ask({ addresses, everyMs });
  return { controlPlane, nextAnswer };
}

describe("control plane", () => {
  test.each(["127.0.0.1", "::1"])(
    "a connection is an answer, noted with when the try began: %s",
    async (ip) => {
      const { address } = listen(ip);
      const beforeMs = performance.now();
      const { controlPlane, nextAnswer } = ask([address]);
      await nextAnswer();
      expect(controlPlane.answeredAtMs).toBeWithin(beforeMs, performance.now());
      expect(controlPlane.failureOf(address)).toBeUndefined();
    },
  );

  test("a refusal is one too", async () => {
    const { nextAnswer } = ask([closedPort("127.0.0.1")]);
    await nextAnswer();
  });

  test("an address that cannot be reached is none, and the next one has its turn", async () => {
    const { address } = listen("127.0.0.1");
    // The kernel connects no TCP to a group.
    const group = { ip: "224.0.0.1", port: 1 };
    const { controlPlane, nextAnswer } = ask([group, address]);
    await nextAnswer();
    expect(controlPlane.failureOf(group)).toBe("ENETUNREACH");
  });

  test("it asks on until it is told to stop", async () => {
    const { address, asked } = listen("127.0.0.1");
    const { controlPlane, nextAnswer } = ask([address]);
    for (let times = 0; times < 3; times++) await nextAnswer();
    controlPlane.ask(undefined);
    await Bun.sleep(5 * everyMs);
    const { count } = asked;
    expect(count).toBeGreaterThanOrEqual(3);
    await Bun.sleep(5 * everyMs);
    expect(asked.count).toBe(count);
  });
});
