// Allocation against a set of taken addresses; the order is compared with that
// of the reference plugin, host-local, if it is installed.
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Allocation, allocate, countAddresses, findRangeSet } from "../../src/ipam/allocate.ts";
import { parseRangeSets, type RangeSet } from "../../src/ipam/range.ts";
import { ParseError } from "../../src/net/error.ts";

const hostLocal = "/usr/lib/cni/host-local";
const dataDir = mkdtempSync(join(tmpdir(), "wgt-ipam-"));
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

function rangeSet(...confs: object[]): RangeSet {
  return parseRangeSets([confs], "r")[0]!;
}

/** A caller that keeps what it takes. */
class Pool {
  readonly taken = new Set<string>();
  last: string | undefined;
  asked = 0;

  constructor(readonly set: RangeSet) {}

  take(requested?: string): Allocation {
    this.asked = 0;
    const isTaken = (ip: string) => {
      this.asked++;
      return this.taken.has(ip);
    };
    const found = allocate(this.set, { isTaken, last: this.last, requested });
    if (found.ok) {
      this.taken.add(found.ip);
      this.last = found.ip;
    }
    return found;
  }

  takeIp(requested?: string): string {
    const found = this.take(requested);
    return found.ok ? found.ip : found.reason;
  }
}

test("addresses are given in order, without the gateway, and go round", () => {
  const pool = new Pool(rangeSet({ subnet: "10.1.0.0/29", gateway: "10.1.0.4" }));
  expect(Array.from({ length: 5 }, () => pool.takeIp())).toEqual([
    "10.1.0.1",
    "10.1.0.2",
    "10.1.0.3",
    "10.1.0.5",
    "10.1.0.6",
  ]);
  pool.taken.delete("10.1.0.2");
  pool.taken.delete("10.1.0.5");
  expect([pool.takeIp(), pool.takeIp(), pool.takeIp()]).toEqual(["10.1.0.2", "10.1.0.5", "exhausted"]);
});

test("a released address rests until the rest have been used", () => {
  const pool = new Pool(rangeSet({ subnet: "10.1.0.0/29" }));
  const first = pool.takeIp();
  pool.taken.delete(first);
  const next = Array.from({ length: 5 }, () => {
    const ip = pool.takeIp();
    pool.taken.delete(ip);
    return ip;
  });
  expect([first, ...next]).toEqual(["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.2"]);
});

test("a set is used from range to range", () => {
  const pool = new Pool(
    rangeSet({ subnet: "10.2.0.0/30" }, { subnet: "10.1.0.0/30" }, { subnet: "10.3.0.0/30" }),
  );
  pool.last = "10.1.0.1";
  expect(Array.from({ length: 4 }, () => pool.takeIp())).toEqual([
    "10.1.0.2",
    "10.3.0.2",
    "10.2.0.2",
    "exhausted",
  ]);
});

test("a last address of another configuration starts from the beginning", () => {
  for (const last of ["192.0.2.1", "fd00::1", "10.1.0.255"]) {
    const pool = new Pool(rangeSet({ subnet: "10.1.0.0/24" }));
    pool.last = last;
    expect(pool.takeIp()).toBe("10.1.0.2");
  }
});

test("the highest address of all is the last one, not the way to the lowest", () => {
  const pool = new Pool(rangeSet({ subnet: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126" }));
  const given = Array.from({ length: 3 }, () => pool.takeIp());
  const all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff";
  expect(given).toEqual([`${all}e`, `${all}f`, "exhausted"]);
  pool.taken.delete(`${all}e`);
  expect(pool.takeIp()).toBe(`${all}e`);
});

test("exhaustion says which range and how many", () => {
  const pool = new Pool(rangeSet({ subnet: "10.1.0.0/30" }, { subnet: "10.1.1.0/30", gateway: "10.1.1.2" }));
  pool.take();
  pool.take();
  expect(pool.take()).toEqual({
    ok: false,
    reason: "exhausted",
    message:
      "no address is free in 10.1.0.0/30 (10.1.0.1 to 10.1.0.2), 10.1.1.0/30 (10.1.1.1 to 10.1.1.2): all 2 are taken",
  });
});

test("a requested address must be in the set, free, and not the gateway", () => {
  const pool = new Pool(rangeSet({ subnet: "fd00::/120" }));
  expect(pool.takeIp("FD00::0:10")).toBe("fd00::10");
  expect(pool.take("fd00::10")).toMatchObject({
    reason: "taken",
    message: "the requested address fd00::10 is taken",
  });
  expect(pool.take("fd00::1")).toMatchObject({
    reason: "outside",
    message: "the requested address fd00::1 is the gateway of fd00::/120",
  });
  for (const outside of ["fd00::", "fd00::100", "10.1.0.1"]) expect(pool.takeIp(outside)).toBe("outside");
  expect(() => pool.take("fd00::x")).toThrow(ParseError);
  expect(pool.takeIp()).toBe("fd00::11");
});

test("requested addresses find their set", () => {
  const sets = parseRangeSets([[{ subnet: "10.1.0.0/24" }], [{ subnet: "fd00::/64" }]], "r");
  expect(["10.1.0.7", "fd00::7", "10.2.0.7"].map((ip) => findRangeSet(sets, ip))).toEqual([0, 1, undefined]);
});

test("a large range costs what is taken of it, not its size", () => {
  const pool = new Pool(rangeSet({ subnet: "fd00::/64" }));
  for (let i = 0; i < 500; i++) pool.take();
  pool.last = undefined;
  expect(pool.takeIp()).toBe("fd00::1f6");
  expect(pool.asked).toBe(501);
  expect(countAddresses(pool.set)).toBe(2n ** 64n - 2n);
});

test("random use never gives an address twice, nor one outside, and always finds the last free one", () => {
  const set = rangeSet(
    { subnet: "10.1.0.0/28", rangeStart: "10.1.0.3" },
    { subnet: "10.2.0.0/29", gateway: "10.2.0.6" },
  );
  const size = Number(countAddresses(set));
  const pool = new Pool(set);
  let seed = 1;
  const random = () => {
    seed = (seed * 48271) % 2147483647;
    return seed / 2147483647;
  };
  for (let i = 0; i < 5000; i++) {
    if (random() < 0.45 && pool.taken.size > 0) {
      pool.taken.delete([...pool.taken][Math.floor(random() * pool.taken.size)]!);
      continue;
    }
    const before = new Set(pool.taken);
    const found = pool.take();
    expect(found.ok).toBe(before.size < size);
    if (found.ok) expect(before.has(found.ip) || findRangeSet([set], found.ip) === undefined).toBe(false);
    expect(pool.asked).toBeLessThanOrEqual(before.size + 1);
  }
});

test.skipIf(!existsSync(hostLocal))("the order is host-local's (needs containernetworking-plugins)", () => {
  const ranges = [
    { subnet: "10.1.0.0/29", rangeStart: "10.1.0.3" },
    { subnet: "10.2.0.0/29", gateway: "10.2.0.4" },
  ];
  const pool = new Pool(rangeSet(...ranges));
  const run = (command: string, container: string) => {
    const ipam = { type: "host-local", ranges: [ranges], dataDir };
    const done = Bun.spawnSync([hostLocal], {
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: container,
        CNI_NETNS: "/none",
        CNI_IFNAME: "eth0",
        CNI_PATH: "/usr/lib/cni",
      },
      stdin: new TextEncoder().encode(
        JSON.stringify({ cniVersion: "1.0.0", name: "order", type: "ptp", ipam }),
      ),
    });
    return done.exitCode === 0 ? done.stdout.toString() : "";
  };
  const held: { container: string; ip: string }[] = [];
  for (let i = 0; i < 40; i++) {
    // Three taken, two given back, so that it goes round with gaps.
    if (i % 5 >= 3) {
      const { container, ip } = held.splice((i * 7) % held.length, 1)[0]!;
      run("DEL", container);
      pool.taken.delete(ip);
      continue;
    }
    const output = run("ADD", `c${i}`);
    const ip = output === "" ? "exhausted" : JSON.parse(output).ips[0].address.split("/")[0];
    expect(pool.takeIp()).toBe(ip);
    if (output !== "") held.push({ container: `c${i}`, ip });
  }
  expect(held.length).toBeGreaterThan(5);
});
