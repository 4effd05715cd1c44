// Objects that a host does not support are left out of the mesh; a failure blocks only the parts that need it.
import { describe, expect, test } from "bun:test";
import type { Family } from "../../../src/net/ip.ts";
import type { Route, Rule } from "../../../src/net/objects.ts";
import type { NodeRecord } from "../../../src/net/record.ts";
import {
  type Capabilities,
  findExtent,
  findOpenFamilies,
  findUnsupported,
  fullCapabilities,
  withoutUnsupported,
} from "../../../src/plan/mesh/capabilities.ts";
import { desiredMesh } from "../../../src/plan/mesh/desired.ts";
import { emptyMesh, type Mesh } from "../../../src/plan/mesh/model.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import type { Step } from "../../../src/plan/step.ts";
import { findObstacle, judgeFailures } from "../../../src/reconcile/outcome.ts";

const key = (n: number) => `${String(n).repeat(43)}=`;
const record = (n: number): NodeRecord => ({
  name: `n${n}`,
  slots: (["a", "b"] as const).map((slot, i) => ({
    ...{ slot, publicKey: key(2 * n + i), port: 51820 + i, state: "active" as const },
  })),
  endpoints: [`192.0.2.${n}`],
  nodeIPs: [`192.0.2.${n}`, `2001:db8::${n}`],
  podCIDRs: [`10.${n}.0.0/24`, `fd00:${n}::/64`],
});
const node = record(1);

function mesh(mode: "permissive" | "strict", capabilities: Capabilities): Mesh {
  const own = { ...node, publicKeys: node.slots.map(({ publicKey }) => publicKey) };
  return desiredMesh({
    settings: parseSettings({ mode, clusterCIDRs: ["fd00::/16"] }),
    ...{ node, ownership: resolveClaims(own, [{ record: record(2), claimedAt: () => new Map() }]) },
    ...{ podIPs: ["10.1.0.5", "fd00:1::5"], linkKind: "wireguard", mtu: 1420, hasFirewall: true },
    ...{
      hasConntrack: true,
      uplinks: ["eth0"],
      changedPeers: new Set(),
      hostEncryption: false,
      capabilities,
    },
  });
}

const families = (things: readonly { readonly family: Family }[]) =>
  [...new Set(things.map(({ family }) => family))].sort();
const only4: Capabilities = { ...fullCapabilities, tunnel: [4] };

describe("desiredMesh", () => {
  test("control: with everything both families take the tunnel", () => {
    const { rules, routes, addresses } = mesh("strict", fullCapabilities);
    expect([families(rules), families(routes.filter(({ type }) => type === "unicast"))]).toEqual([
      [4, 6],
      [4, 6],
    ]);
    expect(addresses.map(({ ip }) => ip)).toContain("2001:db8::1");
  });

  test.each(["permissive", "strict"] as const)("devices without IPv6 get none of it, in mode %s", (mode) => {
    const { routes, rules, addresses, devices } = mesh(mode, only4);
    expect(families(routes.filter(({ type }) => type === "unicast"))).toEqual([4]);
    expect(addresses.map(({ ip }) => ip)).not.toContain("2001:db8::1");
    // Whatever is sent there all the same is refused in strict mode: the rules stay.
    expect(families(rules)).toEqual([4, 6]);
    const types = routes.filter(({ dst }) => dst === "fd00:2::/64").map(({ type }) => type);
    expect(new Set(types)).toEqual(new Set([mode === "strict" ? "prohibit" : "throw"]));
    expect(devices.size).toBe(2);
  });

  test("a family without routing rules has no routes either: they would be in the main table", () => {
    const { routes, rules } = mesh("strict", { ...fullCapabilities, routing: [4] });
    expect([families(routes), families(rules)]).toEqual([[4], [4]]);
  });
});

class KernelError extends Error {
  constructor(readonly code: string) {
    super(`refused: ${code}`);
  }
}

const route = (type: Route["type"], family: Family): Step => ({
  do: "replaceRoute",
  route: {
    family,
    table: 1,
    type,
    dst: family === 4 ? "10.2.0.0/24" : "fd00:2::/64",
    scope: "global",
    protocol: 118,
  },
});
const rule: Rule = { family: 6, priority: 97, action: "nop", invert: false, protocol: 118 };
const table: Step = {
  do: "applyFirewall",
  table: { family: "inet", name: "wg-cni", sets: [], chains: [], foreign: [] },
  commands: [],
};
const sysctl: Step = { do: "writeSysctl", path: "net/ipv4/conf/wg-cni-a/rp_filter", value: "2" };
const device: Step = { do: "configureDevice", dev: "wg-cni-a", config: {} };

test.each<[Step, string, boolean]>([
  [table, "EOPNOTSUPP", true],
  [table, "ENOENT", true],
  [table, "EPERM", false],
  [sysctl, "EROFS", true],
  [sysctl, "EACCES", true],
  [sysctl, "EIO", false],
  [route("unicast", 6), "EOPNOTSUPP", false],
])("findLack, case %#", (step, code, isLack) => {
  expect(findUnsupported(step, new KernelError(code)) !== undefined).toBe(isLack);
});

test("what was refused for good is left out, and nothing else", () => {
  const desired = {
    ...emptyMesh,
    sysctls: new Map([
      ["net/a", "1"],
      [sysctl.do === "writeSysctl" ? sysctl.path : "", "2"],
    ]),
  };
  const [lackKey, why] = findUnsupported(sysctl, new KernelError("EROFS")) as readonly [string, string];
  expect([...withoutUnsupported(desired, { [lackKey]: why }).sysctls.keys()]).toEqual(["net/a"]);
  expect(withoutUnsupported(desired, {})).toBe(desired);
});

test.each<[Step, "all" | "peer" | Family]>([
  [route("unicast", 6), "peer"],
  [route("prohibit", 6), 6],
  [route("throw", 4), 4],
  [{ do: "addRule", rule }, 6],
  [device, "all"],
  [table, "all"],
  [sysctl, "peer"],
])("findExtent, case %#", (step, extent) => {
  expect(findExtent(step)).toBe(extent);
});

describe("a sync that failed", () => {
  const fail = (step: Step, code = "EINVAL") => ({ step, error: new KernelError(code) });
  const judge = (...failures: ReturnType<typeof fail>[]) => judgeFailures(failures, () => []);

  test("for one peer blocks no pod", () => {
    const outcome = judge(fail(route("unicast", 4)));
    expect(outcome).toMatchObject({ blocking: [], isWhole: false, unmet: [] });
    expect(outcome.failures).toHaveLength(1);
    expect(findObstacle(outcome, [4, 6])).toBeUndefined();
  });

  test("for one family blocks pods that have it", () => {
    const outcome = judge(fail({ do: "addRule", rule }));
    expect(outcome).toMatchObject({ isWhole: false, unmet: [6] });
    expect(findObstacle(outcome, [4])).toBeUndefined();
    expect(findObstacle(outcome, [4, 6])).toBe("refused: EINVAL");
  });

  test("for a device blocks all", () => {
    const outcome = judge(fail(device));
    expect(outcome.isWhole).toBe(true);
    expect(findObstacle(outcome, [4])).toBe("refused: EINVAL");
  });

  test("for a table that another program changed in between is tried again before it is a lack", () => {
    const first = [fail(table, "ENOENT")];
    expect(judgeFailures(first, () => [])).toMatchObject({ failures: [], unsupported: {} });
    const again = judgeFailures(first, (steps) => steps.map((step) => fail(step, "ENOENT")));
    expect([again.failures, Object.keys(again.unsupported).length]).toEqual([[], 1]);
  });
});

test.each<[readonly Family[], readonly Family[], boolean, readonly Family[]]>([
  [[4, 6], [4, 6], false, []],
  [[4], [4, 6], false, [6]],
  [[4], [4, 6], true, []],
  [[4], [4], false, []],
])(
  "strict mode cannot close a family that has neither rules nor nftables %#",
  (routing, forwarding, hasFirewall, open) => {
    expect(findOpenFamilies({ ...fullCapabilities, routing, forwarding }, hasFirewall)).toEqual([...open]);
  },
);
