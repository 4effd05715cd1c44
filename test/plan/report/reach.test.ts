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
import { readSentences } from "../../docs/support/sentences.ts";

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
const endpoint = "192.0.2.2";
const tunnel: RouteLookup = { dst, type: "unicast", devs: ["wg-cni-a"] };
const uplink: RouteLookup = { dst, type: "unicast", devs: ["eth0"] };
const failing = (error: string): RouteLookup => ({ dst, devs: [], error });
const back: RouteLookup = { dst: "10.1.0.7", type: "unicast", devs: ["veth0"] };
const encrypted: RouteLookup = { ...uplink, dst: endpoint };
const arriving: RouteLookup = { dst: "192.0.2.1", type: "local", devs: ["lo"] };

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
  "into the tunnel, with a way to the peer's endpoint": {
    packets: [{ outward: tunnel, back, encrypted: { ...uplink, dst: endpoint } }],
    expected: "tunnel",
  },
  "into the tunnel, without a way to the peer's endpoint": {
    packets: [{ outward: tunnel, back, encrypted: { dst: endpoint, devs: [], error: "ENETUNREACH" } }],
    expected: "lost",
  },
  "into the tunnel, whose uplink has no carrier": {
    packets: [{ outward: tunnel, back, encrypted: { ...uplink, dst: endpoint, isDead: true } }],
    expected: "lost",
  },
  "into the tunnel, and from there into the tunnel again": {
    packets: [{ outward: tunnel, back, encrypted: { ...tunnel, dst: endpoint } }],
    expected: "lost",
  },
  "into the tunnel, to an endpoint that this node has": {
    packets: [{ outward: tunnel, back, encrypted: { dst: endpoint, type: "local", devs: ["lo"] } }],
    expected: "lost",
  },
  "into the tunnel, with a way for what arrives": {
    packets: [{ outward: tunnel, back, encrypted, arriving }],
    expected: "tunnel",
  },
  "into the tunnel, and what arrives is led on": {
    packets: [
      { outward: tunnel, back, encrypted, arriving: { ...arriving, type: "unicast", devs: ["eth0"] } },
    ],
    expected: "lost",
  },
  "into the tunnel, and what arrives has no route": {
    packets: [
      { outward: tunnel, encrypted, arriving: { dst: "192.0.2.1", devs: [], error: "EHOSTUNREACH" } },
    ],
    expected: "lost",
  },
  "into the tunnel, and what arrives has passed no filter, as it has no mark": {
    packets: [{ outward: tunnel, encrypted, arriving: { dst: "192.0.2.1", devs: [], error: "EXDEV" } }],
    expected: "tunnel",
  },
  "into the tunnel, and answers go by the uplink again": {
    packets: [{ outward: tunnel, back: { ...back, devs: ["eth0"] }, encrypted, arriving }],
    expected: "lost",
  },
  "into the tunnel, and answers go to a pod that shares the uplink": {
    packets: [{ outward: tunnel, back: { ...back, devs: ["eth0"] }, podDev: "eth0", encrypted, arriving }],
    expected: "tunnel",
  },
  "into the tunnel, and answers go back into it": {
    packets: [{ outward: tunnel, back: { ...back, devs: ["wg-cni-a"] } }],
    expected: "lost",
  },
  "into the tunnel by one CIDR and in plaintext by another": {
    packets: [{ outward: tunnel }, { outward: uplink }],
    expected: "plaintext",
  },
  "nowhere, without a CIDR": { packets: [], expected: undefined },
};

function judge(row: (typeof cases)[string]) {
  const { packets, mode = "permissive", hasFirewall = false } = row;
  const known = "device" in row ? row.device : good;
  const devices = new Map(known === undefined ? [] : [["wg-cni-a", known] as const]);
  const settings = parseSettings({ mode });
  return judgeReach(peer, packets, { settings, node, devices, hasFirewall });
}

describe("judgeReach says that a packet goes", () => {
  test.each(Object.entries(cases))("%s", (_, row) => {
    const { expected } = row;
    const judged = judge(row);
    expect(judged?.reach).toBe(expected as Reach);
    // Whoever is told of a packet that is not encrypted is told why.
    expect(judged?.why === undefined).toBe(expected === "tunnel" || expected === undefined);
  });

  const clauses = readSentences(`${import.meta.dir}/../../../src/plan/report/reach.ts`);
  test.each(clauses.map(({ text, pattern }) => [text, pattern] as const))("a case has: %s", (_, pattern) => {
    const whys = Object.values(cases).map((row) => judge(row)?.why ?? "");
    expect(whys.some((why) => pattern.test(why))).toBe(true);
    expect(whys.every((why) => pattern.test(why))).toBe(false);
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
