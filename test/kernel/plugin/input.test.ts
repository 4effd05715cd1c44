// Bad input to the built plugin: an answer that names what is wrong with the
// code it has in the specification, at once, and a node that is as it was, down
// to the state directory that nobody made.

import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type AttachOptions, isServed, pluginEnv, type Verb } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { call, refuse, succeed } from "../support/plugin.ts";
import { snapshot } from "../support/reference.ts";

/** Far more than any of these answers takes, far less than reading on would. */
const promptMs = 5_000;
const head = { type: "wg-cni", name: "pods", cniVersion: "1.0.0" };
const prevResult = { cniVersion: "1.0.0", ips: [{ address: "10.9.0.5/24" }] };
const withRanges = (...sets: unknown[]) => ({ ...head, ipam: { ranges: sets } });
const subnet = (text: unknown, more: object = {}) => withRanges([{ subnet: text, ...more }]);

describeKernel("bad input", () => {
  const lab = withLab("input");
  let node: Node;
  let pod: Pod;
  let before: string[][];
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", ip6: "2001:db8::1", podCidrs: [] });
    pod = node.pod("a");
    before = [snapshot(node), snapshot(pod)];
  });
  afterEach(() => {
    expect([snapshot(node), snapshot(pod)]).toEqual(before);
    // A plugin server has made the directory.
    const state = isServed ? `${node.stateDir}/state.db` : node.stateDir;
    expect(existsSync(node.outsidePath(state))).toBe(false);
  });

  describe("on stdin", () => {
    const big = JSON.stringify({ ...head, ipam: {}, padding: "x".repeat(10_000_000) });
    test.each([
      ["text that is no JSON", "nonsense", 6, "Cannot decode the network configuration: "],
      ["nothing", "", 6, "Cannot decode the network configuration: stdin is empty"],
      ["half an object", '{"name": "pods"', 6, "Cannot decode the network configuration: "],
      ["a list", "[]", 6, "it is not a JSON object"],
      ["null", "null", 6, "it is not a JSON object"],
      [
        "very deep JSON",
        `{"name":"pods","x":${"[".repeat(400_000)}`,
        6,
        "Cannot decode the network configuration: ",
      ],
      ["10 MB of JSON", big, 5, "The network configuration on stdin is larger than 1024 KiB"],
    ])("%s", async (_, stdin, code, words) => {
      for (const verb of ["ADD", "DEL", "CHECK", "STATUS", "GC"] as const) {
        const { json, milliseconds } = await call(node, verb, stdin, pod);
        expect([verb, json.code]).toEqual([verb, code]);
        expect(json.msg).toContain(words);
        expect(json.cniVersion).toBe("1.1.0");
        expect(milliseconds).toBeLessThan(promptMs);
      }
    });

    test.each([
      ["that never ends", "</dev/zero", 5, "larger than 1024 KiB"],
      ["that is a directory", "</", 5, "EISDIR"],
      ["that is closed", "<&-", 6, "stdin is empty"],
    ])("something %s", (_, redirection, code, words) => {
      const env = pluginEnv("ADD", pod);
      const { stdout, milliseconds, exitCode } = node.exec(["sh", "-c", `exec $0 ${redirection}`, binary], {
        env,
        timeoutMs: promptMs,
      });
      expect(exitCode).toBe(1);
      expect(JSON.parse(stdout).code).toBe(code);
      expect(JSON.parse(stdout).msg).toContain(words);
      expect(milliseconds).toBeLessThan(promptMs);
    });
  });

  const configurations: [string, Verb, object, number, string][] = [
    ["no name", "ADD", { ...head, name: undefined }, 7, "missing network name"],
    ["a name with a slash", "ADD", { ...head, name: "a/b" }, 7, "invalid characters found in network name"],
    ["a number for a name", "ADD", { ...head, name: 7 }, 6, "name: expected a string, not 7"],
    ["a number for a version", "ADD", { ...head, cniVersion: 1 }, 6, "cniVersion: expected a string, not 1"],
    ["a version to come", "ADD", { ...head, cniVersion: "9.9.9" }, 1, "incompatible CNI versions"],
    ["neither role", "ADD", head, 7, 'it has neither "ipam" nor the result of a plugin before wg-cni'],
    ["both roles", "ADD", { ...head, ipam: {}, prevResult }, 7, 'it has "ipam" and also the result'],
    ["a list for ipam", "ADD", { ...head, ipam: [] }, 7, "ipam: expected an object, not []"],
    ["text for ranges", "ADD", { ...head, ipam: { ranges: "10.0.0.0/8" } }, 7, "ipam.ranges must be a list"],
    [
      "a range that is no list",
      "ADD",
      withRanges({ subnet: "10.9.0.0/24" }),
      7,
      "ipam.ranges[0] must be a list",
    ],
    ["an empty range set", "ADD", withRanges([]), 7, "ipam.ranges[0] is empty"],
    ["a subnet that is a number", "ADD", subnet(7), 7, "ipam.ranges[0][0].subnet must be a non-empty string"],
    [
      "a subnet that is none",
      "ADD",
      subnet("10.1/16"),
      7,
      'ipam.ranges[0][0].subnet: "10.1" is not an IP address',
    ],
    ["a subnet too long", "ADD", subnet("10.9.0.0/33"), 7, "ipam.ranges[0][0].subnet: "],
    ["a subnet with host bits", "ADD", subnet("10.9.0.1/24"), 7, "the subnet is 10.9.0.0/24"],
    ["a subnet too small", "ADD", subnet("10.9.0.0/31"), 7, "is too small to allocate from"],
    [
      "a start outside",
      "ADD",
      subnet("10.9.0.0/24", { rangeStart: "10.8.0.1" }),
      7,
      "ipam.ranges[0][0].rangeStart: ",
    ],
    [
      "a start after the end",
      "ADD",
      subnet("10.9.0.0/24", { rangeStart: "10.9.0.9", rangeEnd: "10.9.0.8" }),
      7,
      "10.9.0.9 is after the range's end, 10.9.0.8",
    ],
    [
      "overlapping ranges",
      "ADD",
      withRanges([{ subnet: "10.9.0.0/24" }], [{ subnet: "10.9.0.0/16" }]),
      7,
      "ipam.ranges[1][0]: 10.9.0.0/16 (10.9.0.1 to 10.9.255.254) overlaps 10.9.0.0/24",
    ],
    [
      "mixed families in a set",
      "ADD",
      withRanges([{ subnet: "10.9.0.0/24" }, { subnet: "fd00:9::/64" }]),
      7,
      "ipam.ranges[0] mixes IPv4 and IPv6",
    ],
    [
      "a subnet beside ranges",
      "ADD",
      { ...head, ipam: { subnet: "10.9.0.0/24" } },
      7,
      "ipam.subnet: write it as a range",
    ],
    ["text for an MTU", "ADD", { ...head, ipam: {}, mtu: "1400" }, 7, 'mtu: expected a number, not "1400"'],
    [
      "a tiny MTU",
      "ADD",
      { ...head, ipam: {}, mtu: 100 },
      7,
      "mtu: expected a whole number from 576 to 65535, not 100",
    ],
    [
      "a relative state directory",
      "ADD",
      { ...head, ipam: {}, stateDir: "here" },
      7,
      'stateDir: "here" is not an absolute path',
    ],
    [
      "a result that is text",
      "ADD",
      { ...head, prevResult: "ok" },
      7,
      'prevResult: expected an object, not "ok"',
    ],
    [
      "a result with a bad address",
      "ADD",
      { ...head, prevResult: { ips: [{ address: "10.9.0.5/24" }, { address: "10.9" }] } },
      7,
      "prevResult.ips[1].address: ",
    ],
    ["masquerading", "ADD", { ...head, ipam: {}, ipMasq: true }, 2, "ipMasq: true is not supported"],
    ["no result", "CHECK", { ...head, ipam: {} }, 7, "prevResult is missing"],
    [
      "a bad list",
      "GC",
      { ...head, cniVersion: "1.1.0", "cni.dev/valid-attachments": 1 },
      7,
      "expected a list, not 1",
    ],
  ];
  test.each(configurations)("%s (%s)", async (_, verb, conf, code, words) => {
    const failure = await refuse(node, verb, conf, pod);
    expect({ code: failure.code, msg: failure.msg }).toEqual({ code, msg: expect.stringContaining(words) });
    expect(failure.stderr).toBe("");
  });

  const environments: [string, AttachOptions, string][] = [
    ["no container ID", { env: { CNI_CONTAINERID: "" } }, "required env variables [CNI_CONTAINERID] missing"],
    [
      "several missing",
      { env: { CNI_NETNS: "", CNI_PATH: "" } },
      "required env variables [CNI_NETNS,CNI_PATH] missing",
    ],
    ["a bad container ID", { env: { CNI_CONTAINERID: "../x" } }, "invalid characters in containerID"],
    ["a long interface name", { ifname: "sixteen-letters-" }, "interface name is too long"],
    [
      "an interface name with a colon",
      { ifname: "eth0:1" },
      "interface name contains / or : or whitespace characters",
    ],
    ["an unknown verb", { env: { CNI_COMMAND: "UPDATE" } }, "unknown CNI_COMMAND: UPDATE"],
    ["arguments without values", { args: "IP" }, "IP"],
    ["unknown arguments", { args: "IP=10.9.0.9;K8S_POD_NAME=a" }, "K8S_POD_NAME"],
  ];
  test.each(environments)("%s in the environment", async (_, options, words) => {
    const { code, msg } = await refuse(node, "ADD", { ...head, ipam: {} }, pod, options);
    expect({ code, msg }).toEqual({ code: 4, msg: expect.stringContaining(words) });
  });
});

describeKernel("unknown keys", () => {
  const lab = withLab("keys");
  test("are tolerated, with what may have been meant on stderr", async () => {
    const node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    const pod = node.pod("a");
    const range = { subnet: "10.9.0.0/24", rangestart: "10.9.0.9" };
    const conf = { ...head, mut: 1400, "example.org/x": 1, ipam: { ranges: [[range]], route: [] } };
    const { stderr, json } = await succeed(node, "ADD", conf, pod);
    expect(json.ips).toHaveLength(1);
    expect(stderr.trim().split("\n")).toEqual([
      'wg-cni: Ignored the unknown key "mut" (did you mean "mtu"?)',
      'wg-cni: Ignored the unknown key "ipam.route" (did you mean "routes"?)',
      'wg-cni: Ignored the unknown key "ipam.ranges[0][0].rangestart" (did you mean "rangeStart"?)',
    ]);
    expect(await succeed(node, "DEL", conf, pod)).toMatchObject({ stderr: "" });
  });
});
