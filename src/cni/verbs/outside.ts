// What of a pod the tunnel cannot have: traffic that does not pass this node's routing, and
// addresses that are another node's or this node's own. Strict mode starts no such pod;
// permissive mode starts it, warns, and keeps such addresses out of everything: they are not
// thrown out of the tunnel, and not announced.
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
/** Of our table of nftables (plan/mesh/desired.ts, which is too much to load for a name). */
const meshTable = "wg-cni";

export interface Judged {
  /** What this node keeps out of the tunnel, and announces. */
  readonly ips: readonly string[];
  readonly outside?: Outside;
}

/** For a pod that another plugin made. Throws CniError in strict mode. */
export function judgeChained(host: Host, request: Request, ips: readonly string[]): Judged {
  if (ips.length === 0) return { ips };
  const { kernel, settings } = host;
  const pod = enterPod(kernel, request);
  const { netns, ifname } = request;
  const connection = observePodConnection(kernel.host, pod, settings, { netns, ifname, ips });
  const why = findBypass(connection);
  const own = connection.routes.filter(({ isNode }) => isNode).map(({ ip }) => ip);
  return why === undefined
    ? judgeAddresses(host, request, ips, own)
    : settle(host, request, ips, { kind: "bypass", ips, why });
}

/** The addresses alone; `ofNode`: those that are known to be this node's own. Throws CniError in strict mode. */
export function judgeAddresses(
  host: Host,
  request: Request,
  ips: readonly string[],
  ofNode: readonly string[] = [],
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

/** Whose the address is, in a clause, if it is not for a pod of this node. */
function findOwner({ store, kernel: { host } }: Host, ip: string): string | undefined {
  const identity = store.identity();
  // Without a mesh nothing is led into the tunnel, and nobody has anything.
  if (identity === undefined || isHeld(identity.podCIDRs, ip)) return undefined;
  if (host.lookUpRoutes([ip], 0)[0]?.type === "local") return `${ip} is an address of this node`;
  const family = familyOf(ip);
  const answers = peerSets(family).map((set) => hasNftElement(meshTable, set, ip));
  if (answers.includes(true)) return `${ip} belongs to another node`;
  const holder = answers.includes(undefined)
    ? findHolder(
        store.peers().map(({ record }) => record),
        ip,
      )
    : undefined;
  if (holder !== undefined) return `${ip} belongs to ${holder}`;
  const gateway = host.routes({ family, table: mainTable, type: "unicast" }).find(({ via }) => via === ip);
  return gateway === undefined ? undefined : `${ip} is this node's gateway to ${gateway.dst}`;
}
