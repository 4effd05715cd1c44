// Host encryption in the mesh, and what is said about it.
import { describe, expect, test } from "bun:test";
import { closedPath, type PeerPath } from "../../../src/net/path.ts";
import { describeHostEncryption, hostEncryptionOf } from "../../../src/plan/host/host-encryption.ts";
import { desiredMesh, type MeshFacts, tunneledHosts } from "../../../src/plan/mesh/desired.ts";
import { diffMesh } from "../../../src/plan/mesh/diff.ts";
import type { Mesh } from "../../../src/plan/mesh/model.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import { renderStep } from "../../../src/plan/step.ts";
import { key, localRecord } from "../random.ts";

const peer = {
  name: "n2",
  endpoints: ["192.0.2.2"],
  nodeIPs: ["192.0.2.2", "2001:db8::2"],
  podCIDRs: ["10.2.0.0/24"],
  slots: [{ slot: "a" as const, publicKey: key(2), port: 51820, state: "active" as const }],
};
const open: ReadonlyMap<string, PeerPath> = new Map([["n2", { ...closedPath, slot: "a" }]]);

function facts(change: Partial<MeshFacts> & { readonly mode?: string } = {}): MeshFacts {
  const { mode = "permissive", ...others } = change;
  return {
    settings: parseSettings({ mode, controlPlane: ["192.0.2.2:6443"], hostEncryptionExempt: ["tcp/22"] }),
    node: localRecord,
    ownership: { peers: [peer], refusals: [] },
    paths: open,
    changedPeers: new Set(),
    hostEncryption: true,
    podIPs: [],
    linkKind: "wireguard",
    mtu: 1420,
    hasFirewall: true,
    hasConntrack: true,
    uplinks: ["eth0"],
    ...others,
  };
}

const hostRoutes = ({ routes }: Mesh) =>
  routes.filter(
    ({ table, dst }) => table === 18099 && (dst.startsWith("192.0.2.") || dst.startsWith("2001:")),
  );
const steps = (to: Mesh, from: Mesh) =>
  diffMesh(to, from, { slotOf: new Map(), nowMs: 0, ownIPs: [] }).flatMap((step) => {
    const [first = ""] = renderStep(step);
    if (step.do === "applyFirewall") return "nft";
    return /18099/.test(first) ? [first.replace(/ src.*/, "")] : [];
  });

describe("routes", () => {
  test.each(["permissive", "strict"])(
    "to hosts whose gate is open, and nothing refuses behind them: %s",
    (mode) => {
      const routes = hostRoutes(desiredMesh(facts({ mode })));
      expect(routes.map(({ type, dst, dev }) => `${type} ${dst} ${dev}`)).toEqual([
        "unicast 192.0.2.2/32 wg-cni-a",
        "unicast 2001:db8::2/128 wg-cni-a",
      ]);
      expect([...tunneledHosts(facts({ mode }))]).toEqual(peer.nodeIPs);
    },
  );

  test.each([
    ["the gate is closed", { paths: new Map([["n2", closedPath]]) }],
    ["it does not hold", { hostEncryption: false }],
    ["the peer has no key", { ownership: { peers: [{ ...peer, slots: [] }], refusals: [] } }],
  ])("none if %s", (_why, change) => {
    expect(hostRoutes(desiredMesh(facts(change)))).toEqual([]);
    expect(tunneledHosts(facts(change)).size).toBe(0);
  });
});

test("what marks packets in plaintext is there before the routes, and goes after them", () => {
  const on = desiredMesh(facts());
  const off = desiredMesh(facts({ hostEncryption: false }));
  const routes = ["192.0.2.2/32", "2001:db8::2/128"];
  const [first, ...made] = [...new Set(steps(on, off))];
  expect(first).toBe("nft");
  expect(made).toEqual(routes.map((dst) => expect.stringContaining(`route replace ${dst} dev wg-cni-a`)));
  const gone = [...new Set(steps(off, on))];
  expect(gone.pop()).toBe("nft");
  expect(gone).toEqual(routes.map((dst) => expect.stringContaining(`route delete ${dst} dev wg-cni-a`)));
});

describe("what is said", () => {
  const settings = parseSettings({ hostEncryption: true, controlPlane: ["192.0.2.1:6443"] });
  const well = { settings, gated: true, hasFirewall: true };
  const revert = { atMs: 0, reason: "nobody answered" };
  test.each([
    ["on", well, "on, but for 192.0.2.1:6443", undefined],
    [
      "on",
      { ...well, settings: parseSettings({ hostEncryption: true }) },
      "on, nothing is exempt",
      "--control-plane",
    ],
    ["off", { ...well, settings: parseSettings({}), revert }, "off: the nodes themselves reach", undefined],
    ["needs-agent", { ...well, gated: false }, "it needs the agent", "wg-cni agent"],
    ["needs-nftables", { ...well, gated: false, hasFirewall: false }, "it needs nftables", "nf_tables"],
    [
      "reverted",
      { ...well, revert },
      "taken back at 1970-01-01T00:00:00.000Z: nobody answered",
      "--host-encryption on",
    ],
    ["reverted", { ...well, revert: { ...revert, untilAnswer: true } }, "taken back at", "it returns when"],
  ] as const)("%s", (state, given, text, warning) => {
    expect(hostEncryptionOf(given)).toBe(state);
    const said = describeHostEncryption(given);
    expect(said).toMatchObject({ state, text: expect.stringContaining(text) });
    if (warning === undefined) expect(said.warning).toBeUndefined();
    else expect(said.warning).toContain(warning);
  });
});
