// Derives this node's identity from its Node object: name, endpoints, node IPs and pod
// CIDRs. Values that cannot be used are left out with a warning. Pure.
//
//   metadata.name                        the node's name
//   status.addresses, type InternalIP    endpoints and node IPs, IPv4 first
//   spec.podCIDRs                        pod CIDRs, unless pods have the network's addresses
//
//   the Node has                      the identity's
//   ────────────────────────────────  ─────────────────────────────────────────
//   several InternalIPs of a family   all, in the Node's order
//   both families, either first       IPv4 first: it takes 20 bytes less
//   no usable InternalIP              stays as it was; there is none before the first
//   other pod CIDRs than before       are replaced
//   a pod CIDR with an InternalIP     is left out, because its route would include hosts
//   no pod CIDR                       stay as they were, because a recreated Node has none at first
import { attempt, ParseError } from "../net/error.ts";
import { familyOf } from "../net/ip.ts";
import { hostPrefix, prefixContains, prefixesOverlap } from "../net/prefix.ts";
import { refusePodCIDRs } from "../plan/pods/pod-cidrs.ts";
import { parseNodeAddress, parseNodeName, parsePodCidr } from "../plan/records/record.ts";

export interface NodeObject {
  readonly name: string;
  readonly uid: string;
  readonly internalIPs: readonly string[];
  readonly podCIDRs: readonly string[];
  /** All taints, present if the start-up taint is one of them. */
  readonly taints?: readonly unknown[];
  /** One sentence for each value that was left out, with the reason. */
  readonly warnings: readonly string[];
}

/** The part of an identity that a Node object determines. */
export interface NodeIdentity {
  readonly name: string;
  readonly endpoints: readonly string[];
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
}

export interface NodeIdentityPlan {
  /** Absent if the Node yields no identity. */
  readonly identity?: NodeIdentity;
  /** Sentences for the operator. */
  readonly warnings: readonly string[];
}

/** Nodes are created with this taint if no pod may start before the agent is ready (conf/kubernetes/startup-taint.yaml). */
export const startupTaint = "wg-cni.dev/agent-not-ready";

/** A record may have 64 addresses; a peer tries one endpoint after the other. */
const maxAddresses = 16;

/** Reads a Node object; returns undefined if it is not one. */
export function readNodeObject(json: unknown): NodeObject | undefined {
  const { metadata, spec, status } = (json ?? {}) as Record<string, Record<string, unknown> | undefined>;
  const { name, uid } = metadata ?? {};
  if (typeof name !== "string" || typeof uid !== "string" || uid === "") return undefined;
  const warnings: string[] = [];
  const ips = asList(status?.["addresses"]).flatMap((address) => {
    const { type, address: ip } = (address ?? {}) as Record<string, unknown>;
    if (type !== "InternalIP") return [];
    return parseOrWarn(() => parseNodeAddress(ip, `InternalIP of Node ${name}`), warnings);
  });
  const taints = asList(spec?.["taints"]);
  const cidrs = podCidrsOf(spec).flatMap((cidr) =>
    parseOrWarn(() => parsePodCidr(cidr, `pod CIDR of Node ${name}`), warnings),
  );
  return {
    ...{ name, uid, warnings },
    internalIPs: [...new Set(ips)],
    podCIDRs: cidrs.filter((cidr, i) => isFirst(cidr, cidrs.slice(0, i), name, warnings)),
    ...(taints.some(isStartupTaint) ? { taints } : {}),
  };
}

/** True if the Node has the node IP or the pod CIDR. As in the admission policy, a Node without pod CIDRs confirms every pod CIDR. */
export function confirmsClaim(
  { internalIPs, podCIDRs }: NodeObject,
  claim: string,
  kind: "node IP" | "pod CIDR",
): boolean {
  if (kind === "node IP") return internalIPs.some((ip) => hostPrefix(ip) === claim);
  return podCIDRs.length === 0 || podCIDRs.some((cidr) => prefixContains(cidr, claim));
}

/** Formats a JSON patch (RFC 6902) that removes the start-up taint, and fails if the taints have changed meanwhile. */
export function formatTaintRemoval(taints: readonly unknown[]) {
  const path = "/spec/taints";
  const rest = taints.filter((taint) => !isStartupTaint(taint));
  return [
    { op: "test", path, value: taints },
    { op: "replace", path, value: rest },
  ];
}

function isStartupTaint(taint: unknown): boolean {
  return (taint as { readonly key?: unknown } | null)?.key === startupTaint;
}

/** Clusters of one family may have the older field only. */
function podCidrsOf(spec: Record<string, unknown> | undefined): readonly unknown[] {
  const many = asList(spec?.["podCIDRs"]);
  if (many.length > 0) return many;
  const one = spec?.["podCIDR"];
  return one === undefined || one === "" ? [] : [one];
}

function isFirst(cidr: string, before: readonly string[], name: string, warnings: string[]): boolean {
  const other = before.find((one) => prefixesOverlap(one, cidr));
  if (other !== undefined && other !== cidr)
    warnings.push(`pod CIDR of Node ${name}: ${cidr} overlaps ${other} and is left out`);
  return other === undefined;
}

/** Plans the identity of a Node. `before`: its earlier pod CIDRs; `podAddresses`: the source of pods' addresses. */
export function planIdentity(
  { name, internalIPs, podCIDRs, warnings }: NodeObject,
  before: readonly string[],
  podAddresses: "node" | "pods",
): NodeIdentityPlan {
  const problem = findProblem(name, internalIPs);
  if (problem !== undefined) return { warnings: [...warnings, problem] };
  const addresses = byFamily(internalIPs).slice(0, maxAddresses);
  const own = internalIPs.map((ip) => ({ ip, whose: `an InternalIP of Node ${name}` }));
  const isUsable = (cidr: string) => refusePodCIDRs([cidr], own).length === 0;
  const usable = podCIDRs.filter(isUsable);
  const isFromNode = podAddresses === "node" && usable.length > 0;
  const identity = {
    name,
    endpoints: addresses,
    nodeIPs: addresses,
    podCIDRs: isFromNode ? usable : before.filter(isUsable),
  };
  if (podAddresses === "pods") return { identity, warnings };
  const leftOut = refusePodCIDRs(podCIDRs, own).map((sentence) => `${sentence}; it is left out`);
  const none = isFromNode ? [] : [explainNoCidrs(name, before)];
  return { identity, warnings: [...warnings, ...leftOut, ...none] };
}

function findProblem(name: string, internalIPs: readonly string[]): string | undefined {
  const problem = attempt(
    ParseError,
    () => void parseNodeName(name, "metadata.name"),
    ({ message }) => message,
  );
  if (problem !== undefined) return problem;
  if (internalIPs.length > 0) return undefined;
  return `Node ${name} has no InternalIP (status.addresses) that other nodes could send to: the kubelet sets it, by --node-ip if it finds none. Until then this node stays as it is.`;
}

function explainNoCidrs(name: string, before: readonly string[]): string {
  const now = before.length === 0 ? "its pods are not encrypted" : `it stays ${before.join(", ")}`;
  return `Node ${name} has no pod CIDR (spec.podCIDRs), so ${now}. If pods have addresses of the network (AKS, EKS), set --pod-addresses pods; else let the controller manager give nodes their CIDRs (--allocate-node-cidrs).`;
}

/** IPv4 first; within a family the order stays. */
function byFamily(ips: readonly string[]): string[] {
  return [...ips].sort((a, b) => familyOf(a) - familyOf(b));
}

/** Returns a list of one value, or an empty one and a warning. */
function parseOrWarn<T>(parse: () => T, warnings: string[]): T[] {
  return attempt(
    ParseError,
    () => [parse()],
    ({ message }) => {
      warnings.push(`${message}; it is left out`);
      return [];
    },
  );
}

function asList(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}
