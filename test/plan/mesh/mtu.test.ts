// The tunnel's MTU from routes and links, and the words that say where it comes from.
import { describe, expect, test } from "bun:test";
import type { RouteLookup } from "../../../src/net/objects.ts";
import type { NodeRecord } from "../../../src/net/record.ts";
import { deriveMtu, type MtuFacts, peerEndpoints } from "../../../src/plan/mesh/mtu.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import { key } from "../random.ts";

const node: NodeRecord = {
  name: "n1",
  slots: [],
  endpoints: ["192.0.2.1"],
  nodeIPs: ["192.0.2.1"],
  podCIDRs: ["10.1.0.0/24"],
};
const dual: NodeRecord = {
  ...node,
  endpoints: ["192.0.2.1", "2001:db8::1"],
  nodeIPs: ["192.0.2.1", "2001:db8::1"],
};

const peer = (index: number, change: Partial<OwnedPeer> = {}): OwnedPeer => ({
  name: `n${index}`,
  slots: [{ slot: "a", publicKey: key(index), port: 51820, state: "active" }],
  endpoints: [`192.0.2.${index}`],
  nodeIPs: [`192.0.2.${index}`],
  podCIDRs: [`10.${index}.0.0/24`],
  ...change,
});
const v6 = { endpoints: ["2001:db8::2"], nodeIPs: ["2001:db8::2"] };

/** `routes`: "DST dev NAME [NAME…] [mtu N]", "DST local", "DST error CODE"; `links`: "NAME MTU". */
function derive(routes: readonly string[], links: readonly string[], change: Partial<MtuFacts> = {}) {
  const facts: MtuFacts = {
    settings: parseSettings({}),
    node,
    peers: [peer(2), peer(3)],
    podIPs: [],
    routes: routes.map(parseLookup),
    linkMtus: new Map(links.map((link) => [link.split(" ")[0] as string, Number(link.split(" ")[1])])),
    ...change,
  };
  return deriveMtu(facts);
}

function parseLookup(text: string): RouteLookup {
  const [dst = "", kind, ...words] = text.split(" ");
  if (kind === "error") return { dst, devs: [], error: words[0] as string };
  if (kind === "local") return { dst, type: "local", devs: ["lo"] };
  const at = words.indexOf("mtu");
  const devs = at < 0 ? words : words.slice(0, at);
  return { dst, type: "unicast", devs, ...(at < 0 ? {} : { mtu: Number(words[at + 1]) }) };
}

describe("the smallest wins", () => {
  test.each<[string, string[], string[], number, string]>([
    [
      "one uplink",
      ["192.0.2.2 dev eth0", "192.0.2.3 dev eth0"],
      ["eth0 1500"],
      1440,
      "eth0 towards 192.0.2.2 (node n2) has 1500, less 60 for the tunnel",
    ],
    [
      "two uplinks",
      ["192.0.2.2 dev eth0", "192.0.2.3 dev eth1"],
      ["eth0 9001", "eth1 1460"],
      1400,
      "eth1 towards 192.0.2.3 (node n3) has 1460, less 60 for the tunnel",
    ],
    [
      "a route's own MTU",
      ["192.0.2.2 dev eth0", "192.0.2.3 dev eth0 mtu 1400"],
      ["eth0 1500"],
      1340,
      "the route to 192.0.2.3 (node n3) by eth0 has mtu 1400, less 60 for the tunnel",
    ],
    [
      "a route's MTU above its interface's",
      ["192.0.2.2 dev eth0 mtu 9000"],
      ["eth0 1500"],
      1440,
      "eth0 towards 192.0.2.2 (node n2) has 1500, less 60 for the tunnel",
    ],
    [
      "several next hops",
      ["192.0.2.2 dev eth0 eth1"],
      ["eth0 1500", "eth1 1400"],
      1340,
      "eth1 towards 192.0.2.2 (node n2) has 1400, less 60 for the tunnel",
    ],
    [
      "IPv6 costs more",
      ["192.0.2.2 dev eth0", "2001:db8::2 dev eth0"],
      ["eth0 1500"],
      1420,
      "eth0 towards 2001:db8::2 (node n2) has 1500, less 80 for the tunnel",
    ],
    [
      "what cannot be reached, and what is this node's own, do not count",
      ["192.0.2.2 error ENETUNREACH", "192.0.2.9 local", "192.0.2.3 dev eth0"],
      ["eth0 1500"],
      1440,
      "eth0 towards 192.0.2.3 (node n3) has 1500, less 60 for the tunnel",
    ],
    [
      "an interface that has gone, or is our own, does not count",
      ["192.0.2.2 dev wg-cni-a", "192.0.2.3 dev eth0"],
      ["eth0 1500"],
      1440,
      "eth0 towards 192.0.2.3 (node n3) has 1500, less 60 for the tunnel",
    ],
  ])("%s", (_, routes, links, bytes, reason) => {
    const peers = [peer(2, { endpoints: ["192.0.2.2", "2001:db8::2"] }), peer(3)];
    expect(derive(routes, links, { peers })).toMatchObject({ bytes, reason });
  });

  test("it depends on every interface that leads to a peer", () => {
    const { uplinks } = derive(["192.0.2.2 dev eth0", "192.0.2.3 dev eth1"], ["eth0 1500", "eth1 9001"]);
    expect(uplinks).toEqual([
      { dev: "eth0", mtu: 1500 },
      { dev: "eth1", mtu: 9001 },
    ]);
  });
});

describe("not below what IPv6 needs", () => {
  const narrow = [["192.0.2.2 dev eth0"], ["eth0 1280"]] as const;
  const raised =
    "raised to 1280, which IPv6 needs; eth0 towards 192.0.2.2 (node n2) has 1280, less 60 for the tunnel: outer packets will be fragmented";

  test("without IPv6 it is what is left", () => {
    expect(derive(...narrow)).toMatchObject({ bytes: 1220, reason: expect.not.stringContaining("raised") });
  });

  test.each<[string, Partial<MtuFacts>]>([
    ["the node's address", { node: { ...node, nodeIPs: ["192.0.2.1", "2001:db8::1"] } }],
    ["the node's pods", { node: { ...node, podCIDRs: ["fd00:1::/64"] } }],
    ["a pod that is there", { podIPs: ["10.1.0.2", "fd00::2"] }],
    ["the node's endpoint", { node: { ...node, endpoints: ["192.0.2.1", "2001:db8::1"] } }],
    ["a peer's pods", { peers: [peer(2), peer(3, { podCIDRs: ["fd00:3::/64"] })] }],
    ["a peer's address", { peers: [peer(2), peer(3, v6)] }],
  ])("IPv6 in %s", (_, change) => {
    expect(derive(...narrow, change)).toMatchObject({ bytes: 1280, reason: raised });
  });

  test("1360 is enough for IPv6 in IPv6", () => {
    const facts = { node: dual, peers: [peer(2, v6)] };
    expect(derive(["2001:db8::2 dev eth0"], ["eth0 1360"], facts)).toMatchObject({
      bytes: 1280,
      reason: "eth0 towards 2001:db8::2 (node n2) has 1360, less 80 for the tunnel",
    });
    expect(derive(["2001:db8::2 dev eth0"], ["eth0 1359"], facts).reason).toStartWith("raised to 1280");
  });
});

describe("nothing to go by", () => {
  test("no peer can be reached: the interface with the node's endpoint", () => {
    const own = { dev: "eth0", mtu: 1460 };
    expect(derive(["192.0.2.2 error EHOSTUNREACH"], [], { own })).toEqual({
      bytes: 1400,
      reason: "eth0 has 1460, less 60 for the tunnel",
      uplinks: [own],
    });
    expect(derive([], [], { own, node: dual, peers: [] })).toMatchObject({
      bytes: 1380,
      reason: "eth0 has 1460, less 80 for the tunnel",
    });
  });

  test("no interface has it either", () => {
    expect(derive([], [], { peers: [] })).toEqual({
      bytes: 1440,
      reason: "no interface has 192.0.2.1: 1500 is assumed, less 60 for the tunnel",
      uplinks: [],
    });
  });

  test("set by hand, it depends on nothing", () => {
    expect(derive(["192.0.2.2 dev eth0"], ["eth0 1500"], { settings: parseSettings({ mtu: 1300 }) })).toEqual(
      {
        bytes: 1300,
        reason: "set by hand",
        uplinks: [],
      },
    );
  });
});

describe("the endpoints that count", () => {
  const both = peer(2, { endpoints: ["192.0.2.2", "2001:db8::2"] });

  test("those of families that this node has", () => {
    expect([...peerEndpoints(node, [both])]).toEqual([["192.0.2.2", "n2"]]);
    expect([...peerEndpoints(dual, [both, peer(3)]).keys()]).toEqual([
      "192.0.2.2",
      "2001:db8::2",
      "192.0.2.3",
    ]);
  });

  test("not those of a peer that nothing is sent to", () => {
    const withdrawn = both.slots.map((slot) => ({ ...slot, state: "withdrawn" as const }));
    const peers = [{ ...both, slots: [] }, { ...peer(3), slots: withdrawn }, peer(4)];
    expect([...peerEndpoints(dual, peers).values()]).toEqual(["n4"]);
  });
});
