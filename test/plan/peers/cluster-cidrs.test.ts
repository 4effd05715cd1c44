// Networks that contain hosts: cluster CIDRs and pod CIDRs, with the kernel's state of a node under several
// plugins, as a table.
import { describe, expect, test } from "bun:test";
import { ParseError } from "../../../src/net/error.ts";
import type { Address } from "../../../src/net/objects.ts";
import { hostPrefix, prefixContains, prefixHolds } from "../../../src/net/prefix.ts";
import { judgeClusterCIDRs, refuseImpossibleCIDRs } from "../../../src/plan/peers/cluster-cidrs.ts";
import { hostLandmarks, knownLandmarks } from "../../../src/plan/peers/landmarks.ts";
import { refusePodCIDRs } from "../../../src/plan/pods/pod-cidrs.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";

/** "DEV KIND" or "DEV", "DEV IP/LENGTH", "DST via GATEWAY DEV". */
interface Host {
  readonly links: readonly string[];
  readonly addresses: readonly string[];
  readonly routes: readonly string[];
}

function landmarksOf({ links, addresses, routes }: Host) {
  const gateways = routes.map((text) => {
    const [dst = "", , via = "", dev = ""] = text.split(" ");
    return { dst, via, dev };
  });
  return hostLandmarks({
    links: links.map((text) => {
      const [name = "", kind = ""] = text.split(" ");
      return { name, kind };
    }),
    addresses: addresses.map((text): Address => {
      const [dev = "", ip = "", length = ""] = text.split(/[ /]/);
      return { dev, ip, length: Number(length), scope: "global", noPrefixRoute: false, noDad: false };
    }),
    gateways,
    uplinks: gateways.filter(({ dst }) => dst.endsWith("/0")).map(({ dev }) => dev),
    ownDevices: ["wg-cni-a", "wg-cni-b"],
  });
}

const plain: Host = {
  links: ["lo", "eth0"],
  addresses: ["lo 127.0.0.1/8", "eth0 10.0.1.5/24", "eth0 2001:db8::5/64", "eth0 fe80::5/64"],
  routes: ["0.0.0.0/0 via 10.0.1.1 eth0", "::/0 via fe80::1 eth0"],
};
const with_ = (change: Partial<Host>): Host => ({
  links: [...plain.links, ...(change.links ?? [])],
  addresses: [...plain.addresses, ...(change.addresses ?? [])],
  routes: [...plain.routes, ...(change.routes ?? [])],
});

const cases: readonly (readonly [what: string, host: Host, cidr: string, held: string | undefined])[] = [
  ["EKS, AKS: the range of the whole network", plain, "10.0.0.0/16", "10.0.1.5"],
  ["the gateway alone", plain, "10.0.1.0/30", "10.0.1.1"],
  ["pods apart from it", plain, "10.244.0.0/16", undefined],
  ["the pods' part", plain, "10.0.128.0/17", undefined],
  ["IPv6", plain, "2001:db8::/32", "2001:db8::5"],
  [
    "a further interface, without a gateway",
    with_({ links: ["eth1"], addresses: ["eth1 10.9.0.5/16"] }),
    "10.9.0.0/16",
    "10.9.0.5",
  ],
  [
    "a bridge that is the uplink",
    {
      links: ["azure0 bridge"],
      addresses: ["azure0 10.0.1.5/24"],
      routes: ["0.0.0.0/0 via 10.0.1.1 azure0"],
    },
    "10.0.0.0/8",
    "10.0.1.5",
  ],
  [
    "a node IP that is nowhere but on lo is the record's to say",
    with_({ addresses: ["lo 10.7.0.1/32"] }),
    "10.7.0.0/16",
    undefined,
  ],
  [
    "flannel: bridge, overlay and its gateways are the pods'",
    with_({
      links: ["cni0 bridge", "flannel.1 vxlan"],
      addresses: ["cni0 10.244.1.1/24", "flannel.1 10.244.1.0/32"],
      routes: ["10.244.2.0/24 via 10.244.2.0 flannel.1"],
    }),
    "10.244.0.0/16",
    undefined,
  ],
  [
    "OVN, Antrea: gateways on a port of the plugin's",
    with_({
      links: ["ovn-k8s-mp0 openvswitch"],
      addresses: ["ovn-k8s-mp0 10.244.1.2/24"],
      routes: ["10.244.0.0/16 via 10.244.1.1 ovn-k8s-mp0", "10.96.0.0/16 via 10.244.1.1 ovn-k8s-mp0"],
    }),
    "10.244.0.0/16",
    undefined,
  ],
  [
    "kindnet, host-gw: a next hop of the pods' routes is a node",
    with_({ routes: ["10.0.2.0/24 via 10.0.1.6 eth0"] }),
    "10.0.1.6/31",
    "10.0.1.6",
  ],
  [
    "Cilium's and our own devices",
    with_({
      links: ["cilium_host veth", "wg-cni-a wireguard"],
      addresses: ["cilium_host 10.244.1.9/32", "wg-cni-a 10.244.1.10/32"],
    }),
    "10.244.0.0/16",
    undefined,
  ],
];

describe("a cluster CIDR beside what the kernel shows", () => {
  test.each([...cases])("%s", (_what, host, cidr, held) => {
    const { kept, refusals } = judgeClusterCIDRs(["172.30.0.0/16", cidr], landmarksOf(host));
    expect(refusals.map(({ ip }) => ip)).toEqual(held === undefined ? [] : [held]);
    expect(kept).toEqual(held === undefined ? ["172.30.0.0/16", cidr] : ["172.30.0.0/16"]);
  });
});

test.each([
  ["a node IP of a peer", "10.1.0.0/16"],
  ["an endpoint of a peer", "10.2.0.0/16"],
  ["this node's", "10.3.0.0/16"],
  ["the control plane", "10.4.0.0/16"],
  ["the API server", "10.5.0.0/16"],
])("a cluster CIDR that holds %s", (_what, cidr) => {
  const known = knownLandmarks({
    node: { nodeIPs: ["10.3.0.1"], endpoints: ["192.0.2.1"] },
    peers: [{ name: "n2", nodeIPs: ["10.1.0.2"], endpoints: ["10.2.0.2"] }],
    settings: parseSettings({ controlPlane: ["10.4.0.9:6443"] }),
    apiServers: ["10.5.0.1"],
  });
  const [refusal] = judgeClusterCIDRs([cidr], known).refusals;
  expect(refusal?.cidr).toBe(cidr);
  expect(judgeClusterCIDRs(["10.244.0.0/16"], known).refusals).toEqual([]);
});

describe("what cannot be a network of pods", () => {
  test.each([
    "0.0.0.0/0",
    "::/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "10.0.0.0/7",
    "2000::/3",
    "127.0.0.0/8",
    "::1/128",
    "169.254.0.0/16",
    "169.0.0.0/8",
    "fe80::/10",
    "fe00::/8",
    "224.0.0.0/4",
    "ff00::/8",
    "240.0.0.0/8",
    "10.0.0.1/8",
    "fd00::1/48",
  ])("%s", (cidr) => expect(() => refuseImpossibleCIDRs([cidr])).toThrow(ParseError));

  test("more than a mesh may have", () => {
    const many = Array.from({ length: 65 }, (_, i) => `10.${i}.0.0/16`);
    expect(() => refuseImpossibleCIDRs(many)).toThrow(ParseError);
    expect(() => refuseImpossibleCIDRs(many.slice(1))).not.toThrow();
  });

  test.each(["10.0.0.0/8", "100.64.0.0/10", "fd00:0:0::/48", "10.244.0.0/16", "fd00::/8"])(
    "but %s can",
    (cidr) => expect(() => refuseImpossibleCIDRs([cidr])).not.toThrow(),
  );
});

test("pod CIDRs of this node that hold hosts are a sentence each", () => {
  expect(refusePodCIDRs(["10.0.1.0/24", "10.244.1.0/24"], landmarksOf(plain))).toHaveLength(1);
});

test("prefixHolds says what prefixContains does", () => {
  const prefixes = [
    "10.1.0.0/16",
    "10.1.2.0/23",
    "10.1.2.3/32",
    "0.0.0.0/0",
    "128.0.0.0/1",
    "fd00::/8",
    "fd00:1::/33",
    "::/0",
  ];
  const ips = [
    "10.1.0.0",
    "10.1.255.255",
    "10.1.3.9",
    "10.1.4.0",
    "10.1.2.3",
    "200.0.0.1",
    "fd00:1::1",
    "fd00:1:8000::",
    "fe80::1",
  ];
  for (const prefix of prefixes)
    for (const ip of ips)
      expect([prefix, ip, prefixHolds(prefix, ip)]).toEqual([
        prefix,
        ip,
        prefixContains(prefix, hostPrefix(ip)),
      ]);
});
