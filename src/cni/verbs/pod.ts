// Both roles use these functions: they open a pod's namespace and find the MTU of its traffic.
import { SysError } from "../../linux/syscall.ts";
import { familyOf } from "../../net/ip.ts";
import type { Rtnl } from "../../netlink/rtnl.ts";
import { CniError } from "../error.ts";
import type { Host } from "../host.ts";
import type { Request } from "../request.ts";

/** Opens the pod's network namespace. Throws CniError if CNI_NETNS is no network namespace. */
export function enterPod(host: Host, { netns }: Request): Rtnl {
  try {
    return host.kernel.enterPod(host.locateNetns(netns));
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const msg = `Cannot enter the pod's network namespace ${netns}: ${error.code}. Has the container ended meanwhile?`;
    throw new CniError("invalidNetns", msg, { cause: error });
  }
}

/** Returns the addresses that can have a route in a table of ours. */
export function routedIps({ applied }: Host, ips: readonly string[]): readonly string[] {
  const routing = applied?.routing;
  return routing === undefined ? ips : ips.filter((ip) => routing.includes(familyOf(ip)));
}

/** Returns the addresses that must have such a route. `down` takes the routes of all pods away, which are whole without them. */
export function checkedIps(host: Host, ips: readonly string[]): readonly string[] {
  return host.intent.identity?.up === false ? [] : routedIps(host, ips);
}

/** Returns the MTU of the pod's traffic in bytes: the configured one, else the tunnel's; undefined if there is no tunnel yet. */
export function podMtu(host: Host, { conf }: Request): number | undefined {
  return conf.mtu ?? host.applied?.mtu?.[host.settings.deviceA];
}
