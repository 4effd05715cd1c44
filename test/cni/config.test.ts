// The network configuration: every verb's view of it, what is refused with which
// key named, and what is only warned about.
import { describe, expect, test } from "bun:test";
import { type NetConf, parseConf, parseHead } from "../../src/cni/config.ts";
import { CniError } from "../../src/cni/error.ts";

const chained = { cniVersion: "1.1.0", name: "n1", type: "wg-cni", prevResult: { cniVersion: "1.1.0" } };
const standalone = { cniVersion: "1.1.0", name: "n1", type: "wg-cni", ipam: {} };

function parse(conf: object, command = "ADD", args: Record<string, string> = {}): NetConf {
  return parseConf(parseHead(JSON.stringify(conf)), command, new Map(Object.entries(args)));
}

function errorOf(run: () => unknown): { code: number; msg: string; details?: string | undefined } {
  try {
    run();
  } catch (error) {
    if (error instanceof CniError) return { code: error.code, msg: error.message, details: error.details };
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("head", () => {
  const refused: readonly [string, number, string][] = [
    ["", 6, "stdin is empty"],
    ["nope", 6, "Cannot decode the network configuration"],
    ["[]", 6, "not a JSON object"],
    ["null", 6, "not a JSON object"],
    ["5", 6, "not a JSON object"],
    ['{"name":', 6, "Cannot decode"],
    ["[".repeat(500_000), 6, "Cannot decode"],
    ['{"name":5}', 6, "name: expected a string, not 5"],
    ['{"name":"a","cniVersion":5}', 6, "cniVersion: expected a string, not 5"],
    ["{}", 7, "missing network name"],
    ['{"name":""}', 7, "missing network name"],
    ['{"name":"a b"}', 7, "invalid characters found in network name"],
    ['{"name":"a b","cniVersion":"9"}', 7, "invalid characters found in network name"],
    ['{"name":"a","cniVersion":"9.9.9"}', 1, "incompatible CNI versions"],
  ];
  for (const [raw, code, msg] of refused)
    test(`${raw.slice(0, 40)} is ${code}`, () => {
      expect(errorOf(() => parseHead(raw))).toMatchObject({ code, msg: expect.stringContaining(msg) });
    });

  test("the details of an incompatible version name both sides", () => {
    expect(errorOf(() => parseHead('{"name":"a","cniVersion":"2.0.0"}')).details).toBe(
      'config is "2.0.0", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]',
    );
  });

  test("no cniVersion means 0.1.0", () => expect(parseHead('{"name":"a"}').cniVersion).toBe("0.1.0"));
});

describe("role", () => {
  test("a result before us means chained, ipam means standalone", () => {
    expect(parse(chained)).toMatchObject({ role: "chained", stateDir: "/var/lib/wg-cni" });
    expect(parse(standalone)).toMatchObject({ role: "standalone", ipam: { kind: "embedded", ranges: [] } });
  });

  test("ADD with both or neither is refused, saying what to do", () => {
    expect(errorOf(() => parse({ ...chained, ipam: {} }))).toMatchObject({
      code: 7,
      msg: expect.stringMatching(/remove "ipam"/),
    });
    expect(errorOf(() => parse({ ...standalone, ipam: null }))).toMatchObject({
      code: 7,
      msg: expect.stringMatching(/after the plugin.*"ipam": \{\}/),
    });
  });

  test("CHECK and DEL of a standalone attachment have both", () => {
    for (const command of ["CHECK", "DEL"])
      expect(parse({ ...chained, ipam: {} }, command).role).toBe("standalone");
  });

  test("CHECK without prevResult is refused; DEL, STATUS and GC do without", () => {
    expect(errorOf(() => parse(standalone, "CHECK"))).toMatchObject({
      code: 7,
      msg: expect.stringContaining("prevResult"),
    });
    for (const command of ["DEL", "STATUS", "GC"]) expect(parse(standalone, command).role).toBe("standalone");
  });

  test("null is absent, as Go programs write it", () => {
    const conf = parse({
      ...chained,
      ipam: null,
      dns: null,
      mtu: null,
      args: null,
      runtimeConfig: null,
      stateDir: null,
    });
    expect(conf).toMatchObject({ role: "chained", requested: { ips: [] }, warnings: [] });
    expect("dns" in conf || "mtu" in conf).toBe(false);
  });
});

describe("values", () => {
  const refused: readonly [object, string][] = [
    [{ mtu: "1400" }, 'mtu: expected a number, not "1400"'],
    [{ mtu: 575 }, "mtu: expected a whole number from 576 to 65535, not 575"],
    [{ mtu: 1400.5 }, "mtu: expected a whole number"],
    [{ mtu: 70_000 }, "mtu: expected a whole number"],
    [{ stateDir: "lib" }, 'stateDir: "lib" is not an absolute path'],
    [{ stateDir: 1 }, "stateDir: expected a string, not 1"],
    [{ dns: [] }, "dns: expected an object, not []"],
    [{ dns: { nameservers: ["a", 1] } }, "dns.nameservers[1]: expected a string, not 1"],
    [{ runtimeConfig: { ips: "10.0.0.1" } }, 'runtimeConfig.ips: expected a list, not "10.0.0.1"'],
    [{ runtimeConfig: { ips: ["10.0.0.256"] } }, 'runtimeConfig.ips[0]: "10.0.0.256" is not an IP address'],
    [{ args: { cni: { mac: "254" } } }, 'args.cni.mac: "254" is not a MAC address'],
    [{ prevResult: [] }, "prevResult: expected an object, not []"],
    [
      { prevResult: { ips: [{ address: "10.0.0.1" }] } },
      'prevResult.ips[0].address: "10.0.0.1" is not a CIDR',
    ],
    [{ prevResult: { cniVersion: "7.0.0" } }, 'prevResult.cniVersion: version "7.0.0" is not supported'],
  ];
  for (const [more, msg] of refused)
    test(`${JSON.stringify(more)} is refused by name on ADD, CHECK and STATUS`, () => {
      for (const command of ["ADD", "CHECK", "STATUS"])
        expect(errorOf(() => parse({ ...chained, ...more }, command))).toMatchObject({
          code: 7,
          msg: expect.stringContaining(`Cannot use the configuration of network "n1": ${msg}`),
        });
    });

  test("a long wrong value is cut", () => {
    expect(errorOf(() => parse({ ...chained, dns: "x".repeat(5000) })).msg.length).toBeLessThan(200);
  });

  const ipamRefused: readonly [unknown, string][] = [
    [[], "ipam: expected an object, not []"],
    [{ type: 5 }, "ipam.type: expected a string, not 5"],
    [{ type: "../x" }, 'ipam.type: "../x" is a path'],
    [{ subnet: "10.1.0.0/16" }, "ipam.subnet: write it as a range"],
    [{ ranges: {} }, "ipam.ranges must be a list"],
    [{ ranges: [[{ subnet: "10.1/16" }]] }, "ipam.ranges[0][0].subnet"],
    [{ ranges: [[{ subnet: "10.1.0.0/16" }], [{ subnet: "10.1.2.0/24" }]] }, "ipam.ranges[1][0]"],
    [{ routes: [{ gw: "10.0.0.1" }] }, "ipam.routes[0].dst is missing"],
    [{ routes: [{ dst: "10.0.0.0/33" }] }, 'ipam.routes[0].dst: "10.0.0.0/33" has a prefix length over 32'],
    [{ routes: [{ dst: "0.0.0.0/0", gw: "x" }] }, 'ipam.routes[0].gw: "x" is not an IP address'],
  ];
  for (const [ipam, msg] of ipamRefused)
    test(`ipam ${JSON.stringify(ipam)} is refused`, () => {
      expect(errorOf(() => parse({ ...standalone, ipam }))).toMatchObject({
        code: 7,
        msg: expect.stringContaining(msg),
      });
    });

  test("ipam may be ours or another plugin's", () => {
    expect(parse({ ...standalone, ipam: { type: "wg-cni" } }).ipam?.kind).toBe("embedded");
    expect(parse({ ...standalone, ipam: { ranges: [[{ subnet: "10.1.0.0/16" }]] } }).ipam).toMatchObject({
      ranges: [[{ subnet: "10.1.0.0/16" }]],
    });
    expect(parse({ ...standalone, ipam: { type: "host-local", ranges: 5 } }).ipam).toEqual({
      kind: "delegate",
      type: "host-local",
    });
    expect(
      parse({ ...standalone, ipam: { routes: [{ dst: "FD00::1/8", gw: "FE80::1" }] } }).ipam,
    ).toMatchObject({
      routes: [{ dst: "fd00::/8", gw: "fe80::1" }],
    });
  });

  test("mtu 0 is how templates say nothing; a closing slash of stateDir goes", () => {
    const conf = parse({ ...chained, mtu: 0, stateDir: "/srv/wg/" });
    expect(conf.mtu).toBeUndefined();
    expect(conf.stateDir).toBe("/srv/wg");
  });

  test("ipMasq is refused as unsupported (2), with key and value; false is fine", () => {
    expect(errorOf(() => parse({ ...standalone, ipMasq: true }))).toMatchObject({
      code: 2,
      msg: expect.stringContaining("ipMasq: true"),
    });
    expect(parse({ ...standalone, ipMasq: false }).warnings).toEqual([]);
    expect(parse({ ...standalone, ipMasq: true }, "DEL").role).toBe("standalone");
  });

  test("a wrong value is a warning on DEL and GC, except for the state directory", () => {
    const broken = { ...chained, mtu: "1400", ipam: [], dns: 5, prevResult: 5, runtimeConfig: 1 };
    for (const command of ["DEL", "GC"]) {
      const conf = parse(broken, command);
      expect(conf.warnings).toHaveLength(5);
      expect(conf.warnings[0]).toBe(`Ignored on ${command}: mtu: expected a number, not "1400"`);
      expect(errorOf(() => parse({ ...chained, stateDir: "x" }, command)).code).toBe(7);
    }
  });
});

describe("requested address and MAC", () => {
  const runtimeConfig = { ips: ["10.0.0.5/24", "FD00::5"], mac: "02:00:00:00:00:0A" };
  const args = { cni: { ips: ["10.0.0.6"], mac: "02:00:00:00:00:0b" } };
  const env = { IP: "10.0.0.7,fd00::7", MAC: "02:00:00:00:00:0c" };

  test("runtimeConfig, then args.cni, then CNI_ARGS", () => {
    expect(parse({ ...standalone, runtimeConfig, args }, "ADD", env).requested).toEqual({
      ips: ["10.0.0.5", "fd00::5"],
      mac: "02:00:00:00:00:0a",
    });
    expect(parse({ ...standalone, args }, "ADD", env).requested).toEqual({
      ips: ["10.0.0.6"],
      mac: "02:00:00:00:00:0b",
    });
    expect(parse(standalone, "ADD", env).requested).toEqual({
      ips: ["10.0.0.7", "fd00::7"],
      mac: "02:00:00:00:00:0c",
    });
    expect(parse(standalone).requested).toEqual({ ips: [] });
  });

  test("each key on its own", () => {
    expect(
      parse({ ...standalone, runtimeConfig: { mac: "02:00:00:00:00:01" }, args }, "ADD", env).requested,
    ).toEqual({
      ips: ["10.0.0.6"],
      mac: "02:00:00:00:00:01",
    });
  });
});

describe("valid attachments of GC", () => {
  const key = "cni.dev/valid-attachments";
  const one = { containerID: "c", ifname: "eth0" };

  test("absent and null are no list, which is not an empty one", () => {
    expect(parse(standalone, "GC").validAttachments).toBeUndefined();
    expect(parse({ ...standalone, [key]: null }, "GC").validAttachments).toBeUndefined();
    expect(parse({ ...standalone, [key]: [] }, "GC").validAttachments).toEqual([]);
  });

  test("either key, the specification's first", () => {
    expect(parse({ ...standalone, [key]: [one] }, "GC").validAttachments).toEqual([one]);
    expect(parse({ ...standalone, "cni.dev/attachments": [one] }, "GC").validAttachments).toEqual([one]);
    expect(parse({ ...standalone, [key]: [], "cni.dev/attachments": [one] }, "GC").validAttachments).toEqual(
      [],
    );
  });

  test("an entry that cannot be understood stops GC", () => {
    for (const list of [{}, ["c"], [{ containerID: "c" }], [{ ...one, containerID: 5 }]])
      expect(errorOf(() => parse({ ...standalone, [key]: list }, "GC")).code).toBe(7);
  });
});

describe("unknown keys", () => {
  test("one warning each, with the key that was probably meant", () => {
    const { warnings } = parse({
      ...standalone,
      stateDri: "/x",
      frobnicate: 1,
      capabilities: { ips: true, portMappings: true },
      ipam: { rages: [], routes: [{ dst: "0.0.0.0/0", gateway: "10.0.0.1" }] },
    });
    expect(warnings).toEqual([
      'Ignored the unknown key "stateDri" (did you mean "stateDir"?)',
      'Ignored the unknown key "frobnicate"',
      'Ignored the unknown key "capabilities.portMappings"',
      'Ignored the unknown key "ipam.rages" (did you mean "ranges"?)',
      'Ignored the unknown key "ipam.routes[0].gateway"',
    ]);
  });

  test("not for keys of other plugins, delegates, or verbs that are called all the time", () => {
    expect(parse({ ...standalone, "cni.dev/x": 1, "example.com/y": 2 }).warnings).toEqual([]);
    expect(parse({ ...standalone, ipam: { type: "host-local", dataDir: "/x" } }).warnings).toEqual([]);
    expect(parse({ ...standalone, frobnicate: 1 }, "STATUS").warnings).toEqual([]);
  });

  test("what libcni and runtimes add is known", () => {
    const more = {
      disableCheck: true,
      disableGC: true,
      capabilities: { ips: true, mac: true },
      args: {},
      dns: {},
    };
    expect(parse({ ...standalone, ...more }).warnings).toEqual([]);
  });
});
