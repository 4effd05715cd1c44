// Judges which parts of a pod the tunnel cannot carry: traffic that does not pass this node's routing,
// and addresses that belong to another node or to this node itself. Strict mode starts no such pod.
// Permissive mode starts it, warns, and ignores these addresses: they get no throw route, and are not
// announced.
import { familyOf } from "../../net/ip.ts";
import { hasNftElement } from "../../netlink/nft/presence.ts";
import { findHolder, isHeld, peerSets } from "../../plan/peers/taken.ts";
import { describeOutside, findBypass, type Outside } from "../../plan/pods/far-end.ts";
import { observePodConnection } from "../../reconcile/pod-connection.ts";
import { CniError } from "../error.ts";
import type { Host } from "../host.ts";
import type { Request } from "../request.ts";
import { enterPod } from "./pod.ts";

const mainTable = 254;
/** The name of our nftables table (plan/mesh/desired.ts has it, too, but is too much to load for a name). */
const meshTable = "wg-cni";

export interface Judged {
  /** The addresses that this node keeps out of the tunnel, and announces. */
  readonly ips: readonly string[];
  readonly outside?: Outside;
}

/** Judges a pod that another plugin made. Throws CniError in strict mode. */
export function judgeChained(host: Host, request: Request, ips: readonly string[]): Judged {
  if (ips.length === 0) return { ips };
  const { kernel, settings } = host;
  const pod = enterPod(host, request);
  const { ifname } = request;
  const netns = host.locateNetns(request.netns);
  const connection = observePodConnection(kernel.host, pod, settings, { netns, ifname, ips });
  const why = findBypass(connection);
  const own = connection.routes.filter(({ isNode }) => isNode).map(({ ip }) => ip);
  return why === undefined
    ? judgeAddresses(host, request, ips, own)
    : settle(host, request, ips, { kind: "bypass", ips, why });
}

/** Judges only the addresses; `ofNode`: the node's own among them, if they are known. Throws CniError in strict mode. */
export function judgeAddresses(
  host: Host,
  request: Request,
  ips: readonly string[],
  ofNode = findOwn(host, ips),
): Judged {
  const found = ips.flatMap((ip) => {
    const why = ofNode.includes(ip) ? `${ip} is an address of this node` : findOwner(host, ip);
    return why === undefined ? [] : [{ ip, why }];
  });
  const [first] = found;
  if (first === undefined) return { ips };
  const taken = found.map(({ ip }) => ip);
  const rest = ips.filter((ip) => !taken.includes(ip));
  return settle(host, request, rest, { kind: "taken", ips: taken, why: first.why });
}

function settle({ settings }: Host, { warn }: Request, ips: readonly string[], outside: Outside): Judged {
  const sentence = describeOutside(outside);
  if (settings.mode === "strict")
    throw new CniError("unprotected", `Strict mode does not start this pod: ${sentence}`);
  if (settings.mode === "permissive") warn(sentence);
  return { ips: outside.kind === "bypass" ? [] : ips, outside };
}

/** Returns the addresses of this node itself. Those of its pods are not looked up. */
function findOwn(host: Host, ips: readonly string[]): string[] {
  const foreign = ips.filter((ip) => isForeign(host, ip));
  if (foreign.length === 0) return [];
  return host.kernel.host
    .lookUpRoutes(foreign, 0)
    .flatMap(({ dst, type }) => (type === "local" ? [dst] : []));
}

/** True for an address that is none of this node's pod CIDRs. Without a mesh nothing is routed into the tunnel, and no peer has claims. */
function isForeign({ intent: { identity } }: Host, ip: string): boolean {
  return identity !== undefined && !isHeld(identity.podCIDRs, ip);
}

/** Returns a clause that names the owner of the address, if it is not for a pod of this node. */
function findOwner(node: Host, ip: string): string | undefined {
  if (!isForeign(node, ip)) return undefined;
  const { store, kernel } = node;
  const family = familyOf(ip);
  const isOfPeer = hasNftElement(meshTable, peerSets(family), ip);
  if (isOfPeer) return `${ip} belongs to another node`;
  const records = isOfPeer === undefined ? store.peers().map(({ record }) => record) : [];
  const holder = findHolder(records, ip);
  if (holder !== undefined) return `${ip} belongs to ${holder}`;
  const gateway = kernel.host
    .routes({ family, table: mainTable, type: "unicast" })
    .find(({ via }) => via === ip);
  return gateway === undefined ? undefined : `${ip} is this node's gateway to ${gateway.dst}`;
}
