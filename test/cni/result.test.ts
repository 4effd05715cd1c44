// Results: every version read and written, the plugins we are chained after,
// and whose address is the pod's.
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { formatPrevResult, formatResult, podIps, type Result } from "../../src/cni/result.ts";
import { parseResult } from "../../src/cni/result-parse.ts";
import { type CniVersion, supportedVersions } from "../../src/net/cni-version.ts";
import { call, fullEnv } from "./io.ts";

interface Fixture {
  readonly source: string;
  readonly conflist: { readonly cniVersion: CniVersion; readonly name: string };
  readonly ifname: string;
  readonly result: object;
  readonly podIps: readonly string[];
}

const directory = join(import.meta.dir, "fixtures");
const fixtures = readdirSync(directory).map((name): [string, Fixture] => [
  name,
  JSON.parse(readFileSync(join(directory, name), "utf8")) as Fixture,
]);

const full: Result = {
  interfaces: [
    { name: "veth1", mac: "02:00:00:00:00:01", mtu: 1420 },
    {
      name: "eth0",
      mac: "02:00:00:00:00:02",
      sandbox: "/run/netns/x",
      mtu: 1420,
      socketPath: "/run/s",
      pciID: "0000:00:1f.6",
    },
  ],
  ips: [
    { interface: 1, address: "10.1.2.3/32", gateway: "169.254.1.1" },
    { interface: 1, address: "fd00::3/128", gateway: "fe80::1" },
    { interface: 1, address: "10.1.9.9/24" },
  ],
  routes: [
    { dst: "0.0.0.0/0", gw: "169.254.1.1", mtu: 1420, advmss: 1380, priority: 5, table: 0, scope: 0 },
    { dst: "::/0", gw: "fe80::1" },
    { dst: "10.9.0.0/16" },
  ],
  dns: { nameservers: ["10.8.0.10"], domain: "d", search: ["s"], options: ["ndots:5"] },
};

/** The part of `full` that a version can express, in the shape of its specification. */
const legacy = (cniVersion: string) => ({
  cniVersion,
  ip4: {
    ip: "10.1.2.3/32",
    gateway: "169.254.1.1",
    routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1" }, { dst: "10.9.0.0/16" }],
  },
  ip6: { ip: "fd00::3/128", gateway: "fe80::1", routes: [{ dst: "::/0", gw: "fe80::1" }] },
  dns: full.dns,
});
const current = (cniVersion: string) => ({
  cniVersion,
  interfaces: [
    { name: "veth1", mac: "02:00:00:00:00:01" },
    { name: "eth0", mac: "02:00:00:00:00:02", sandbox: "/run/netns/x" },
  ],
  ips: full.ips,
  routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1" }, { dst: "::/0", gw: "fe80::1" }, { dst: "10.9.0.0/16" }],
  dns: full.dns,
});
const versioned = (cniVersion: string) => ({
  ...current(cniVersion),
  ips: full.ips.map((ip) => ({ version: ip.address.includes(":") ? "6" : "4", ...ip })),
});
const shapes: Record<CniVersion, object> = {
  "0.1.0": legacy("0.1.0"),
  "0.2.0": legacy("0.2.0"),
  "0.3.0": versioned("0.3.0"),
  "0.3.1": versioned("0.3.1"),
  "0.4.0": versioned("0.4.0"),
  "1.0.0": current("1.0.0"),
  "1.1.0": { cniVersion: "1.1.0", ...full },
};

describe("every version", () => {
  for (const version of supportedVersions)
    test(`${version}: written in its shape, and read back`, () => {
      const text = formatResult(full, version);
      expect(JSON.parse(text)).toEqual(shapes[version]);
      const back = parseResult(JSON.parse(text), "0.1.0", "result");
      expect(formatResult(back, version)).toBe(text);
      expect(back.version).toBe(version);
    });

  test("an empty result is only its version and dns", () => {
    const empty: Result = { interfaces: [], ips: [], routes: [], dns: {} };
    for (const version of supportedVersions)
      expect(JSON.parse(formatResult(empty, version))).toEqual({ cniVersion: version, dns: {} });
  });

  test("table 0 and scope 0 are not absent ones", () => {
    const back = parseResult(JSON.parse(formatResult(full, "1.1.0")), "1.1.0", "result");
    expect(back.routes[0]).toMatchObject({ table: 0, scope: 0 });
    expect("table" in (back.routes[1] as object)).toBe(false);
  });

  test("keys of a later version are not taken from an earlier one", () => {
    const json = { interfaces: [{ name: "eth0", mtu: 9 }], routes: [{ dst: "::/0", table: 5 }] };
    expect(parseResult(json, "1.0.0", "r")).toMatchObject({
      interfaces: [{ name: "eth0" }],
      routes: [{ dst: "::/0" }],
    });
    expect(parseResult(json, "1.0.0", "r").interfaces[0]).toEqual({ name: "eth0" });
  });
});

describe("plugins before us", () => {
  for (const [name, fixture] of fixtures) {
    const { conflist, result, ifname } = fixture;
    const conf = { cniVersion: conflist.cniVersion, name: conflist.name, type: "wg-cni", prevResult: result };

    test(`${name}: finds the pod's addresses`, () => {
      expect(podIps(parseResult(result, conflist.cniVersion, "prevResult"), ifname)).toEqual([
        ...fixture.podIps,
      ]);
    });

    test(`${name}: passes the result on unchanged, also one without cniVersion`, () => {
      const { cniVersion: _, ...bare } = result as { cniVersion?: string };
      for (const prevResult of [result, bare]) {
        const answer = call(
          fullEnv("ADD"),
          { ...conf, prevResult },
          {
            add: ({ conf }) => formatPrevResult(conf.prevResult!, conf.cniVersion),
          },
        );
        expect(answer).toMatchObject({ exitCode: 0, json: result, stderr: "" });
        expect(answer.json).toEqual(result as typeof answer.json);
      }
    });
  }

  test("a result in another version than the configuration's is converted", () => {
    const previous = parseResult(shapes["0.3.1"], "1.0.0", "prevResult");
    expect(JSON.parse(formatPrevResult(previous, "1.0.0"))).toEqual(shapes["1.0.0"]);
  });

  test("a key named __proto__ is data, on the way in and out", () => {
    const json = JSON.parse('{"cniVersion":"1.1.0","ips":[],"__proto__":{"a":1}}');
    expect(formatPrevResult(parseResult(json, "1.1.0", "r"), "1.1.0")).toBe(JSON.stringify(json));
  });
});

describe("shapes that are refused, by name", () => {
  const refused: readonly [unknown, string][] = [
    ["text", 'r: expected an object, not "text"'],
    [{ cniVersion: 1 }, "r.cniVersion: expected a string, not 1"],
    [{ interfaces: {} }, "r.interfaces: expected a list, not {}"],
    [{ interfaces: [{}] }, "r.interfaces[0].name is missing"],
    [{ interfaces: [{ name: "a", mac: 254 }] }, "r.interfaces[0].mac: expected a string, not 254"],
    [{ ips: ["10.0.0.1/8"] }, 'r.ips[0]: expected an object, not "10.0.0.1/8"'],
    [{ ips: [{}] }, "r.ips[0].address is missing"],
    [{ ips: [{ address: "10.0.0.1/8", interface: "0" }] }, 'r.ips[0].interface: expected a number, not "0"'],
    [{ ips: [{ address: "10.0.0.1/8", gateway: "x" }] }, 'r.ips[0].gateway: "x" is not an IP address'],
    [{ routes: [{ dst: "10.0.0.0" }] }, 'r.routes[0].dst: "10.0.0.0" is not a CIDR'],
    [{ dns: { search: [1] } }, "r.dns.search[0]: expected a string, not 1"],
  ];
  for (const [json, msg] of refused)
    test(JSON.stringify(json), () => expect(() => parseResult(json, "1.1.0", "r")).toThrow(msg));

  test("and in the oldest versions", () => {
    expect(() => parseResult({ ip4: { ip: "10.0.0.1" } }, "0.2.0", "r")).toThrow("r.ip4.ip:");
    expect(() => parseResult({ ip6: 5 }, "0.1.0", "r")).toThrow("r.ip6: expected an object, not 5");
  });

  test("Go's empty values are absent ones", () => {
    const json = {
      interfaces: null,
      ips: [{ address: "10.0.0.1/8", gateway: "", interface: null }],
      routes: null,
      dns: null,
    };
    expect(parseResult(json, "1.0.0", "r")).toMatchObject({
      interfaces: [],
      ips: [{ address: "10.0.0.1/8" }],
      routes: [],
      dns: {},
    });
  });
});

describe("pod addresses", () => {
  const ips = (interfaces: Result["interfaces"], ...list: Result["ips"]) =>
    podIps({ interfaces, ips: list, routes: [], dns: {} }, "eth0");

  test("an address of a host interface is not the pod's, unless there is no other", () => {
    const interfaces = [{ name: "br0" }, { name: "eth0", sandbox: "/x" }];
    const onHost = { address: "10.0.0.1/24", interface: 0 };
    expect(ips(interfaces, onHost, { address: "10.0.0.2/24", interface: 1 })).toEqual(["10.0.0.2"]);
    expect(ips(interfaces, onHost)).toEqual(["10.0.0.1"]);
  });

  test("no index, or one that points nowhere, means the pod", () => {
    expect(
      ips([{ name: "br0" }], { address: "10.0.0.1/24" }, { address: "fd00::1/64", interface: 7 }),
    ).toEqual(["10.0.0.1", "fd00::1"]);
    expect(ips([], { address: "10.0.0.1/24", interface: -1 })).toEqual(["10.0.0.1"]);
  });

  test("without duplicates; none gives none", () => {
    expect(ips([], { address: "10.0.0.1/24" }, { address: "10.0.0.1/32" })).toEqual(["10.0.0.1"]);
    expect(ips([])).toEqual([]);
  });
});
