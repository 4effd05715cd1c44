// Checks of the network to the peers: the addresses of this node, and how large a packet may be.

import { countOf } from "../net/human-format.ts";
import { hostPrefix, prefixContains } from "../net/prefix.ts";
import { specialAddress } from "../net/special.ts";
import { describeEndpoints, nextEndpoints } from "../plan/host/endpoints.ts";
import { overheadBytes } from "../plan/mesh/mtu.ts";
import { slots } from "../plan/peers/path.ts";
import { describePod } from "../plan/pods/local-pods.ts";
import { slotDevice } from "../plan/settings/settings.ts";
import type { KernelFacts, NodeFacts } from "./facts.ts";
import { type Check, type Finding, fail, ok, shorten, warn } from "./finding.ts";

export const underlayChecks: readonly Check[] = [
  {
    name: "endpoint",
    impact: "peers send to the endpoint: if the address is not this node's, the tunnel gets no answer",
    run: ({ node, kernel }) =>
      node === undefined || !kernel?.plan.up ? undefined : checkEndpoint(node, kernel),
  },
  {
    name: "node IPs",
    impact:
      "peers accept from the tunnel only packets from a node IP or a pod: packets from another address to pods are not encrypted",
    run: ({ kernel }) => (kernel?.plan.up ? checkNodeIPs(kernel) : undefined),
  },
  {
    name: "mtu",
    impact: "packets that are too large are fragmented, or lost if fragmentation is not allowed",
    run: ({ kernel }) => (kernel?.plan.up ? checkMtu(kernel) : undefined),
  },
  {
    name: "cluster CIDRs",
    impact:
      "strict mode refuses a cluster CIDR as a whole, so it can do so only if the CIDR holds pods alone",
    run: ({ kernel }) => {
      if (!kernel?.plan.up) return undefined;
      const { settings, refusedCIDRs } = kernel.plan;
      if (refusedCIDRs.length === 0)
        return ok(settings.clusterCIDRs.length === 0 ? "none" : settings.clusterCIDRs.join(", "));
      return warn(
        `${countOf(refusedCIDRs.length, "cluster CIDR")} ${refusedCIDRs.length === 1 ? "is" : "are"} left out: pods there that no peer announces are reached in plaintext`,
        "name only the pods' part: `wg-cni up --cluster-cidrs`, or clusterCIDRs of the cluster's mesh",
        shorten(refusedCIDRs.map(({ reason }) => reason)),
      );
    },
  },
  {
    name: "pods",
    impact:
      "peers send through the tunnel only to addresses in this node's record, and accept only those from it",
    run: ({ kernel }) => (kernel?.plan.up ? checkPods(kernel) : undefined),
  },
  {
    name: "pod links",
    impact:
      "a pod that may act as a router, or send with another's address, can divert this node's traffic to itself",
    run: ({ kernel }) => (kernel?.plan.up ? checkPodLinks(kernel) : undefined),
  },
  {
    name: "pod mtu",
    impact: "a pod that sends packets larger than the tunnel's MTU depends on ICMP messages to learn it",
    run: ({ kernel }) => (kernel?.plan.up ? checkPodMtu(kernel) : undefined),
  },
];

function checkEndpoint(
  { identity }: NodeFacts,
  { plan, addresses, transport }: KernelFacts,
): Finding | undefined {
  if (identity === undefined) return undefined;
  const { endpoints } = identity;
  const from = describeEndpoints(identity, transport);
  if (identity.endpointsFound && "problem" in transport)
    return warn(
      `${endpoints.join(", ")}, ${from}`,
      "give the interface its address back, or choose with --endpoint, --transport-interface or --transport-cidrs",
    );
  if (nextEndpoints(identity, transport) !== undefined)
    return warn(
      `${endpoints.join(", ")}, ${from}`,
      "run `wg-cni sync`, and give the new record to the other nodes",
    );
  // Our own devices have the node IPs, wherever these are.
  const own = slots.map((slot) => slotDevice(plan.settings, slot));
  const others = addresses.filter(({ dev }) => !own.includes(dev)).map(({ ip }) => ip);
  const foreign = endpoints.filter((ip) => !others.includes(ip));
  if (foreign.length === 0) return ok(`${endpoints.join(", ")}, ${from}`);
  return warn(
    `no interface of this node has ${foreign.join(", ")}`,
    "this is right only if NAT leads the address here; else run `wg-cni up --endpoint default`, which finds the node's own",
  );
}

/** Checks only interfaces that lead to other nodes: a bridge has an address in its pods' network, and no peer sends to docker0. */
function checkNodeIPs(kernel: KernelFacts): Finding {
  const { plan, addresses, uplinks } = kernel;
  const { nodeIPs, podCIDRs } = plan.node;
  const devs = uplinks.map(({ dev }) => dev);
  const missing = addresses.filter(
    ({ ip, dev, scope, caveat }) =>
      devs.includes(dev) &&
      scope === "global" &&
      (caveat === undefined || caveat === "secondary") &&
      specialAddress(ip) === undefined &&
      !nodeIPs.includes(ip) &&
      !podCIDRs.some((cidr) => prefixContains(cidr, hostPrefix(ip))),
  );
  if (missing.length === 0) return ok(nodeIPs.join(", "));
  const flags = [...nodeIPs, ...missing.map(({ ip }) => ip)].map((ip) => `--node-ip ${ip}`).join(" ");
  return warn(
    `${missing.map(({ ip, dev }) => `${ip} (${dev})`).join(", ")} is not among ${nodeIPs.join(", ")}: ${describeUnknownAddress(kernel)}`,
    `if pods of other nodes talk to this address, run \`wg-cni up ${flags}\`, and give the new record to the other nodes`,
  );
}

/** Says what happens if pods of other nodes talk to an address that is no node IP. */
function describeUnknownAddress({ plan, hasFirewall }: KernelFacts): string {
  if (!hasFirewall) return "without nftables pods of other nodes get no answer from it";
  if (plan.settings.mode === "strict") return "strict mode drops what pods of other nodes send to it";
  return "pods of other nodes talk to it in plaintext, and its NodePorts may not answer them";
}

function checkPodLinks({ podLinks, hasFirewall }: KernelFacts): Finding | undefined {
  const { standalone, isGuarded, forged, open } = podLinks;
  if (standalone > 0 && !isGuarded)
    return fail(
      `only the reverse-path filter of IPv4 checks the source addresses of ${countOf(standalone, "pod")}`,
      hasFirewall ? "run `wg-cni sync`" : "load the kernel's nftables: `modprobe nf_tables`",
    );
  if (open.length > 0)
    return warn(
      `${countOf(open.length, "link")} of pods, made by another plugin, ${open.length === 1 ? "lets" : "let"} a pod add routes to this node`,
      "have that plugin set accept_ra and accept_redirects of its links to 0, or set them in net.ipv6.conf.default for all new links",
      shorten(open),
    );
  if (forged > 0)
    return warn(
      `${countOf(forged, "packet")} of pods with a source address of another ${forged === 1 ? "was" : "were"} dropped`,
      "find the pod: `nft monitor trace`, with a rule `iifgroup 18099 meta nftrace set 1`",
    );
  return ok("pods send from their own addresses only, and add no routes to this node");
}

function checkMtu({ plan, derivedMtu }: KernelFacts): Finding {
  const { mtu, observed, settings } = plan;
  const larger = [...observed.links].filter(([, link]) => link.mtu > mtu.bytes);
  if (larger.length > 0)
    return fail(
      `${larger.map(([dev, link]) => `${dev} has ${link.mtu}`).join(", ")}; the right MTU is ${mtu.bytes}: ${mtu.reason}`,
      "run `wg-cni sync`",
    );
  if (settings.mtu > derivedMtu.bytes)
    return warn(
      `${mtu.bytes} was set by hand, and only ${derivedMtu.bytes} fit: ${derivedMtu.reason}`,
      "run `wg-cni up --mtu default`",
    );
  const narrowest = Math.min(...mtu.uplinks.map((uplink) => uplink.mtu));
  if (mtu.bytes + overheadBytes[4] > narrowest)
    return warn(
      `${mtu.bytes}: ${mtu.reason}`,
      `give the uplink an MTU of at least ${mtu.bytes + overheadBytes[6]}`,
    );
  return ok(`${mtu.bytes}: ${mtu.reason}`);
}

function checkPods({ plan, localPods: { earlier, unknown } }: KernelFacts): Finding {
  if (unknown.length > 0) {
    const remedy =
      plan.settings.podAddresses === "pods"
        ? "run `wg-cni sync`; if an agent runs, its log says why it does not"
        : "restart these pods if their network has changed; name the network with `wg-cni up --pod-cidr` if it is this node's alone; `--pod-addresses pods` announces each by itself";
    return warn(
      `${countOf(unknown.length, "pod address")} outside the tunnel, because this node's record lacks it or this node does not route it: not encrypted, and refused in strict mode`,
      remedy,
      shorten(unknown.map(describePod)),
    );
  }
  return ok(
    earlier.length === 0
      ? "this node's record has the addresses of all pods here"
      : `${countOf(earlier.length, "pod address")} that wg-cni did not attach, all in this node's record`,
  );
}

function checkPodMtu({ plan: { mtu }, pods }: KernelFacts): Finding | undefined {
  if (pods.length === 0) return undefined;
  const larger = pods.filter(({ bytes }) => bytes > mtu.bytes);
  if (larger.length === 0) return ok(`no pod here sends packets larger than ${mtu.bytes}`);
  const remedy = larger.every(({ byConfiguration }) => byConfiguration)
    ? 'lower `"mtu"` in the network configuration, which decides for these pods, or leave it out'
    : "run `wg-cni sync`";
  const lines = larger.map(({ pod, bytes }) => `${pod}: ${bytes}`);
  return warn(
    `${larger.length} of ${countOf(pods.length, "pod")} here ${larger.length === 1 ? "sends" : "send"} packets larger than ${mtu.bytes}`,
    remedy,
    shorten(lines),
  );
}
