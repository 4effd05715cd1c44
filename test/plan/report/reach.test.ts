// Where a packet goes, row by row: what the kernel says of its route, device and peer, and what follows.
import { describe, expect, test } from "bun:test";
import type { RouteLookup } from "../../../src/net/objects.ts";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import {
  AllowedIPs,
  judgeReach,
  type KnownDevice,
  type PacketLookup,
  probeAddress,
  type Reach,
} from "../../../src/plan/report/reach.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";

const keys = { own: "own-a", peer: "peer-a", other: "other" };
const slotOf = (publicKey: string) => ({ slot: "a", publicKey, port: 51820, state: "active" }) as const;
const node: NodeRecord = {
  ...{ name: "n1", slots: [slotOf(keys.own)], endpoints: [], nodeIPs: [] },
  podCIDRs: ["10.1.0.0/24"],
};
const peer: OwnedPeer = {
  ...{ name: "n2", slots: [slotOf(keys.peer)], endpoints: [], nodeIPs: [] },
  podCIDRs: ["10.2.0.0/24"],
};
const dst = "10.2.0.1";
const tunnel: RouteLookup = { dst, type: "unicast", devs: ["wg-cni-a"] };
const uplink: RouteLookup = { dst, type: "unicast", devs: ["eth0"] };
const failing = (error: string): RouteLookup => ({ dst, devs: [], error });
const back: RouteLookup = { dst: "10.1.0.7", type: "unicast", devs: ["veth0"] };

function device(owners: Readonly<Record<string, string>>, publicKey: string | undefined): KnownDevice {
  const peers = Object.entries(owners).map(([prefix, key]) => ({ publicKey: key, allowedIPs: [prefix] }));
  return {
    allowedIPs: new AllowedIPs({ peers: peers as never }),
    ...(publicKey === undefined ? {} : { publicKey }),
  };
}
const good = device({ "10.2.0.0/24": keys.peer }, keys.own);

interface Case {
  readonly packets: readonly PacketLookup[];
  readonly device?: KnownDevice | undefined;
  readonly mode?: "permissive" | "strict";
  readonly hasFirewall?: boolean;
  readonly expected: Reach | undefined;
}

const cases: Readonly<Record<string, Case>> = {
  "into the tunnel": { packets: [{ outward: tunnel, back }], expected: "tunnel" },
  "into the tunnel from a node without pods": { packets: [{ outward: tunnel }], expected: "tunnel" },
  "by the uplink": { packets: [{ outward: uplink }], expected: "plaintext" },
  "by the uplink and the tunnel at once": {
    packets: [{ outward: { ...uplink, devs: ["eth0", "wg-cni-a"] } }],
    expected: "plaintext",
  },
  "by the uplink in strict mode": {
    ...{ packets: [{ outward: uplink }], mode: "strict", hasFirewall: true },
    expected: "refused",
  },
  "by the uplink in strict mode without its table": {
    ...{ packets: [{ outward: uplink }], mode: "strict", hasFirewall: false },
    expected: "plaintext",
  },
  "by the uplink in permissive mode, whose table only counts": {
    ...{ packets: [{ outward: uplink }], hasFirewall: true },
    expected: "plaintext",
  },
  prohibited: { packets: [{ outward: failing("EACCES") }], expected: "refused" },
  unreachable: { packets: [{ outward: failing("EHOSTUNREACH") }], expected: "lost" },
  "without a route": { packets: [{ outward: failing("ENETUNREACH") }], expected: "lost" },
  "to an address of this node": {
    packets: [{ outward: { dst, type: "local", devs: ["lo"] } }],
    expected: "lost",
  },
  "into a link that is no WireGuard device": {
    ...{ packets: [{ outward: tunnel }], device: undefined },
    expected: "lost",
  },
  "into a device with another key": {
    packets: [{ outward: tunnel }],
    device: device({ "10.2.0.0/24": keys.peer }, keys.other),
    expected: "lost",
  },
  "into a device without a key": {
    packets: [{ outward: tunnel }],
    device: device({ "10.2.0.0/24": keys.peer }, undefined),
    expected: "lost",
  },
  "into a device without the peer": {
    ...{ packets: [{ outward: tunnel }], device: device({}, keys.own) },
    expected: "lost",
  },
  "into a device whose other peer has the address": {
    packets: [{ outward: tunnel }],
    device: device({ "10.2.0.0/24": keys.other }, keys.own),
    expected: "lost",
  },
  "into a device whose other peer has a longer prefix": {
    packets: [{ outward: tunnel }],
    device: device({ "10.2.0.0/24": keys.peer, "10.2.0.0/28": keys.other }, keys.own),
    expected: "lost",
  },
  "into a device whose other peer has a shorter prefix": {
    packets: [{ outward: tunnel }],
    device: device({ "10.2.0.0/24": keys.peer, "10.0.0.0/8": keys.other }, keys.own),
    expected: "tunnel",
  },
  "into the tunnel, but answers fail the reverse-path filter": {
    packets: [{ outward: tunnel, back: { dst: "10.1.0.7", devs: [], error: "EXDEV" } }],
    expected: "lost",
  },
  "into the tunnel by one CIDR and in plaintext by another": {
    packets: [{ outward: tunnel }, { outward: uplink }],
    expected: "plaintext",
  },
  "nowhere, without a CIDR": { packets: [], expected: undefined },
};

describe("judgeReach says that a packet goes", () => {
  test.each(Object.entries(cases))("%s", (_, row) => {
    const { packets, mode = "permissive", hasFirewall = false, expected } = row;
    const known = "device" in row ? row.device : good;
    const devices = new Map(known === undefined ? [] : [["wg-cni-a", known] as const]);
    const settings = parseSettings({ mode });
    const judged = judgeReach(peer, packets, { settings, node, devices, hasFirewall });
    expect(judged?.reach).toBe(expected as Reach);
    // Whoever is told of a packet that is not encrypted is told why.
    expect(judged?.why === undefined).toBe(expected === "tunnel" || expected === undefined);
  });
});

test.each([
  ["10.2.0.0/24", "10.2.0.1"],
  ["10.2.0.7/32", "10.2.0.7"],
  ["10.2.0.128/25", "10.2.0.129"],
  ["fd00:2::/64", "fd00:2::1"],
  ["fd00:2::5/128", "fd00:2::5"],
])("probeAddress(%s) is %s, which is in it", (cidr, ip) => {
  expect(probeAddress(cidr)).toBe(ip);
});
