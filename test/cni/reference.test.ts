// The same calls to us and to Debian's reference plugins: codes and messages of
// skel, and the shape of results in every version they know.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Env } from "../../src/cni/env.ts";
import { formatPrevResult, formatResult } from "../../src/cni/result.ts";
import { parseResult } from "../../src/cni/result-parse.ts";
import { type CniVersion, supportedVersions } from "../../src/net/cni-version.ts";
import { call, fullEnv } from "./io.ts";
import { askReference, hasReference, referencePlugin } from "./reference.ts";

const directory = mkdtempSync(join(tmpdir(), "wgt-witness-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** They know nothing of 1.1.0. */
const shared = supportedVersions.filter((version) => version !== "1.1.0");
const good = '{"cniVersion":"0.4.0","name":"n"}';

describe("errors", () => {
  const same: readonly [string, Env, string][] = [
    ["ADD without anything", { CNI_COMMAND: "ADD" }, ""],
    ["DEL without anything", { CNI_COMMAND: "DEL" }, ""],
    ["CHECK without anything", { CNI_COMMAND: "CHECK" }, ""],
    ["ADD without netns", fullEnv("ADD", { CNI_NETNS: "" }), good],
    ["ADD with a wrong container ID", fullEnv("ADD", { CNI_CONTAINERID: "a/b" }), good],
    ["ADD with a container ID that starts wrong", fullEnv("ADD", { CNI_CONTAINERID: "-a" }), good],
    ["ADD with a long interface name", fullEnv("ADD", { CNI_IFNAME: "abcdefghijklmnop" }), good],
    ["ADD with interface .", fullEnv("ADD", { CNI_IFNAME: "." }), good],
    ["ADD with interface ..", fullEnv("ADD", { CNI_IFNAME: ".." }), good],
    ["ADD with a slash in the interface", fullEnv("ADD", { CNI_IFNAME: "a/b" }), good],
    ["ADD with a colon in the interface", fullEnv("ADD", { CNI_IFNAME: "a:b" }), good],
    ["ADD with a space in the interface", fullEnv("ADD", { CNI_IFNAME: "a b" }), good],
    ["an unknown verb", fullEnv("FROB"), good],
    ["no name", fullEnv("ADD"), "{}"],
    ["an empty name", fullEnv("ADD"), '{"name":""}'],
    ["a wrong name", fullEnv("ADD"), '{"name":"a b"}'],
    ["a wrong name and a wrong version", fullEnv("ADD"), '{"name":"a b","cniVersion":"9.9.9"}'],
    ["an incompatible version", fullEnv("ADD"), '{"name":"a","cniVersion":"9.9.9"}'],
    ["CHECK before 0.4.0", fullEnv("CHECK"), '{"name":"a","cniVersion":"0.3.1"}'],
    ["CHECK without a version", fullEnv("CHECK"), '{"name":"a"}'],
  ];
  for (const [title, env, stdin] of same)
    referencePlugin(`${title}: the same code and message`, () => {
      const theirs = askReference("host-local", env, stdin);
      const ours = call(env, stdin);
      expect(ours.exitCode).toBe(theirs.exitCode);
      expect([ours.json.code, ours.json.msg]).toEqual([theirs.json.code, theirs.json.msg]);
      expect(ours.calls).toEqual([]);
    });

  const sameCode: readonly [string, string][] = [
    ["empty stdin", ""],
    ["no JSON", "nope"],
    ["a list", "[]"],
    ["half of JSON", '{"name":"a"'],
    ["a name of another type", '{"name":5}'],
    ["a version of another type", '{"name":"a","cniVersion":5}'],
  ];
  for (const [title, stdin] of sameCode)
    referencePlugin(`${title}: the same code`, () => {
      const theirs = askReference("host-local", fullEnv("ADD"), stdin);
      const ours = call(fullEnv("ADD"), stdin);
      expect([ours.exitCode, ours.json.code]).toEqual([theirs.exitCode, theirs.json.code]);
    });

  referencePlugin("VERSION: the same keys, their versions among ours", () => {
    const env = {
      CNI_COMMAND: "VERSION",
      CNI_CONTAINERID: "dummy",
      CNI_NETNS: "dummy",
      CNI_IFNAME: "dummy",
      CNI_PATH: "dummy",
    };
    const theirs = askReference("host-local", env, '{"cniVersion":"1.0.0"}').json;
    const ours = call(env, '{"cniVersion":"1.0.0"}').json;
    expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort());
    expect(ours.supportedVersions).toEqual(expect.arrayContaining(theirs.supportedVersions as string[]));
  });
});

describe("results of host-local", () => {
  const ask = (cniVersion: CniVersion) => {
    const ipam = {
      type: "host-local",
      dataDir: join(directory, cniVersion),
      ranges: [[{ subnet: "10.76.0.0/24" }], [{ subnet: "fd76::/64", gateway: "fd76::5" }]],
      routes: [{ dst: "0.0.0.0/0" }, { dst: "10.9.0.0/16", gw: "10.76.0.9" }, { dst: "::/0" }],
    };
    return askReference("host-local", fullEnv("ADD"), JSON.stringify({ cniVersion, name: "n", ipam })).json;
  };

  for (const version of shared)
    referencePlugin(`${version}: read and written again, the same`, () => {
      const theirs = ask(version);
      expect(JSON.parse(formatResult(parseResult(theirs, version, "r"), version))).toEqual(theirs);
    });

  referencePlugin("from any version to any other, the same as host-local's own", () => {
    const answers = new Map(shared.map((version) => [version, askAfresh(version)]));
    for (const [from, source] of answers)
      for (const [to, target] of answers) {
        // 0.1.0 and 0.2.0 keep routes by family: their order over both is lost.
        const written = JSON.parse(formatResult(parseResult(source, from, "r"), to));
        expect(written).toEqual(target as typeof written);
      }
  });

  const askAfresh = (version: CniVersion) => {
    rmSync(join(directory, version), { recursive: true, force: true });
    return ask(version);
  };
});

/** Their chained plugins rebuild the result; what they print says how a version looks to libcni. */
describe("a chained result through tuning", () => {
  const prevResult = {
    interfaces: [
      { name: "veth1", mac: "02:00:00:00:00:01" },
      { name: "eth0", mac: "02:00:00:00:00:02", sandbox: "/run/netns/x" },
    ],
    ips: [
      { interface: 1, address: "10.1.2.3/24", gateway: "10.1.2.1" },
      { interface: 1, address: "fd00::3/64" },
    ],
    routes: [{ dst: "0.0.0.0/0", gw: "10.1.2.1" }, { dst: "::/0" }],
    dns: { nameservers: ["10.8.0.10"], search: ["s"] },
  };
  const isRoot = process.getuid?.() === 0;
  const check =
    isRoot || !hasReference
      ? referencePlugin
      : (title: string, body: () => void) => test.skip(`${title} (needs root)`, body);

  for (const version of shared)
    check(`${version}: the same`, () => {
      const source = JSON.parse(formatResult(parseResult(prevResult, "1.0.0", "r"), version));
      const conf = { cniVersion: version, name: "n", type: "tuning", prevResult: source };
      const env = fullEnv("ADD", { CNI_NETNS: "/proc/self/ns/net" });
      const theirs = askReference("tuning", env, JSON.stringify(conf), true);
      const ours = call(env, conf, {
        add: ({ conf }) => formatPrevResult(conf.prevResult!, conf.cniVersion),
      });
      expect([ours.exitCode, theirs.exitCode]).toEqual([0, 0]);
      expect(ours.json).toEqual(theirs.json);
    });
});
