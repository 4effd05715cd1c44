// Checks of the way to the other nodes: the addresses that this one goes by, and
// how large a packet may be.

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
    why: "other nodes send to it: an address that is not this node's is a tunnel that nobody answers",
    run: ({ node, kernel }) =>
      node === undefined || !kernel?.plan.up ? undefined : checkEndpoint(node, kernel),
  },
  {
    name: "node IPs",
    why: "peers take from the tunnel only what comes from a node IP or a pod: what another address sends to pods is not encrypted",
    run: ({ kernel }) => (kernel?.plan.up ? checkNodeIPs(kernel) : undefined),
  },
  {
    name: "mtu",
    why: "what is too large is fragmented, or lost where that is not allowed",
    run: ({ kernel }) => (kernel?.plan.up ? checkMtu(kernel) : undefined),
  },
  {
    name: "cluster CIDRs",
    why: "what is refused to pods as a whole must hold pods alone, or it is not refused at all",
    run: ({ kernel }) => {
      if (!kernel?.plan.up) return undefined;
      const { settings, refusedCIDRs } = kernel.plan;
      if (refusedCIDRs.length === 0)
        return ok(settings.clusterCIDRs.length === 0 ? "none" : settings.clusterCIDRs.join(", "));
      return warn(
        `${countOf(refusedCIDRs.length, "cluster CIDR")} left out: pods that no peer announces are reached in plaintext there`,
        "name only the pods' part: `wg-cni up --cluster-cidrs`, or clusterCIDRs of the cluster's mesh",
        shorten(refusedCIDRs.map(({ reason }) => reason)),
      );
    },
  },
  {
    name: "pods",
    why: "other nodes send through the tunnel only to what this node's record has, and take only that from it",
    run: ({ kernel }) => (kernel?.plan.up ? checkPods(kernel) : undefined),
  },
  {
    name: "pod links",
    why: "a pod that may speak as a router, or in another's name, turns this node's traffic to itself",
    run: ({ kernel }) => (kernel?.plan.up ? checkPodLinks(kernel) : undefined),
  },
  {
    name: "pod mtu",
    why: "a pod that sends larger packets than the tunnel takes depends on ICMP to be told",
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
      "`wg-cni sync`, and give the new record to the other nodes",
    );
  // Our own devices have the node IPs, wherever these are.
  const own = slots.map((slot) => slotDevice(plan.settings, slot));
  const others = addresses.filter(({ dev }) => !own.includes(dev)).map(({ ip }) => ip);
  const foreign = endpoints.filter((ip) => !others.includes(ip));
  if (foreign.length === 0) return ok(`${endpoints.join(", ")}, ${from}`);
  return warn(
    `no interface of this node has ${foreign.join(", ")}`,
    "right only where NAT brings it here; else `wg-cni up --endpoint default`, which finds the node's own",
  );
}

/** Of what leads to other nodes: a bridge of pods has an address in their network, and none of the others sends to docker0. */
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
    `${missing.map(({ ip, dev }) => `${ip} (${dev})`).join(", ")} is not among ${nodeIPs.join(", ")}: ${sayUnknown(kernel)}`,
    `where pods of other nodes talk to it: \`wg-cni up ${flags}\`, and give the new record to the other nodes`,
  );
}

/** What becomes of pods of other nodes that talk to an address that is no node IP. */
function sayUnknown({ plan, hasFirewall }: KernelFacts): string {
  if (!hasFirewall) return "without nftables pods of other nodes get no answer from it";
  if (plan.settings.mode === "strict") return "strict mode drops what pods of other nodes send to it";
  return "pods of other nodes talk to it in plaintext, and its NodePorts may not answer them";
}

function checkPodLinks({ podLinks, hasFirewall }: KernelFacts): Finding | undefined {
  const { standalone, isGuarded, forged, open } = podLinks;
  if (standalone > 0 && !isGuarded)
    return fail(
      `nothing but the reverse-path filter of IPv4 checks what ${countOf(standalone, "pod")} of wg-cni's ${standalone === 1 ? "sends" : "send"}`,
      hasFirewall ? "`wg-cni sync`" : "load the kernel's nftables: `modprobe nf_tables`",
    );
  if (open.length > 0)
    return warn(
      `${countOf(open.length, "link")} of pods, made by another plugin, ${open.length === 1 ? "lets" : "let"} a pod teach this node routes`,
      "have that plugin set accept_ra and accept_redirects of its links to 0, or net.ipv6.conf.default for all that come",
      shorten(open),
    );
  if (forged > 0)
    return warn(
      `${countOf(forged, "packet")} of pods in the name of others ${forged === 1 ? "was" : "were"} dropped`,
      "find the pod: `nft monitor trace`, with a rule `iifgroup 18099 meta nftrace set 1`",
    );
  return ok("pods speak with their own addresses, and teach this node no routes");
}

function checkMtu({ plan, derivedMtu }: KernelFacts): Finding {
  const { mtu, observed, settings } = plan;
  const larger = [...observed.links].filter(([, link]) => link.mtu > mtu.bytes);
  if (larger.length > 0)
    return fail(
      `${larger.map(([dev, link]) => `${dev} has ${link.mtu}`).join(", ")}, where ${mtu.bytes} is right: ${mtu.reason}`,
      "`wg-cni sync`",
    );
  if (settings.mtu > derivedMtu.bytes)
    return warn(
      `${mtu.bytes}, set by hand, and only ${derivedMtu.bytes} fit: ${derivedMtu.reason}`,
      "`wg-cni up --mtu default`",
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
        ? "`wg-cni sync`; where an agent runs, its log says why it does not"
        : "start these pods anew if their network has changed; name it with `wg-cni up --pod-cidr` if it is this node's alone; `--pod-addresses pods` announces each by itself";
    return warn(
      `${countOf(unknown.length, "pod address")} outside the tunnel, not in this node's record or not routed by it: not encrypted, and refused in strict mode`,
      remedy,
      shorten(unknown.map(describePod)),
    );
  }
  return ok(
    earlier.length === 0
      ? "no pod is seen that this node's record lacks"
      : `${countOf(earlier.length, "pod address")} that wg-cni did not attach, all in this node's record`,
  );
}

function checkPodMtu({ plan: { mtu }, pods }: KernelFacts): Finding | undefined {
  if (pods.length === 0) return undefined;
  const larger = pods.filter(({ bytes }) => bytes > mtu.bytes);
  if (larger.length === 0) return ok(`no pod here sends more than ${mtu.bytes}`);
  const remedy = larger.every(({ byConfiguration }) => byConfiguration)
    ? '`"mtu"` in the network configuration decides for them: lower it, or leave it out'
    : "`wg-cni sync`";
  const lines = larger.map(({ pod, bytes }) => `${pod}: ${bytes}`);
  return warn(`${larger.length} of ${pods.length} send more than ${mtu.bytes}`, remedy, shorten(lines));
}
