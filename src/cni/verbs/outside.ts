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
  const pod = enterPod(kernel, request);
  const { netns, ifname } = request;
  const connection = observePodConnection(kernel.host, pod, settings, { netns, ifname, ips });
  const why = findBypass(connection);
  const own = connection.routes.filter(({ isNode }) => isNode).map(({ ip }) => ip);
  return why === undefined
    ? judgeAddresses(host, request, ips, own)
    : settle(host, request, ips, { kind: "bypass", ips, why });
}

/** Judges only the addresses; `ofNode`: those that are known to be this node's own. Throws CniError in strict mode. */
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

/** Returns a clause that names the owner of the address, if it is not for a pod of this node. */
function findOwner({ store, kernel: { host } }: Host, ip: string): string | undefined {
  const identity = store.identity();
  // Without a mesh nothing is routed into the tunnel, and no peer has claims.
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
