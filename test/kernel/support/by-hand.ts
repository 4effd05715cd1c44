// Pods as a main plugin would leave them, made with iproute2: for results that
// no plugin on this machine prints, and for routes that none makes.

import { familyOf } from "../../../src/net/ip.ts";
import type { Pod } from "../../lab/pod.ts";
import type { CniResult } from "../../lab/runtime.ts";

export interface HandMade {
  readonly ifname?: string;
  readonly hostDev: string;
  readonly ips: readonly { readonly address: string; readonly gateway?: string }[];
}

const hostDevs = new Map<string, string[]>();

/** Makes the pair, the pod's addresses, a default route for each family, and the node's routes to the pod. */
export function makeByHand(pod: Pod, { ifname = "eth0", hostDev, ips }: HandMade): void {
  hostDevs.set(pod.containerID, [...(hostDevs.get(pod.containerID) ?? []), hostDev]);
  const inPod = `ip -n ${pod.name}`;
  pod.node.script([
    `ip link add ${hostDev} type veth peer name ${ifname} netns ${pod.name}`,
    `ip link set ${hostDev} addrgenmode none up`,
    `${inPod} link set ${ifname} up`,
    ...ips.flatMap(({ address, gateway }) => {
      const [host = "", length] = address.split("/");
      const family = familyOf(host);
      const via = gateway === undefined ? "" : `via ${gateway}`;
      const onlink = gateway === undefined ? "" : "onlink";
      return [
        `${inPod} address add ${host}/${length} dev ${ifname}${family === 6 ? " nodad" : ""}`,
        `${inPod} -${family} route add default ${via} dev ${ifname} ${onlink}`,
        `ip -${family} route add ${host} dev ${hostDev}`,
      ];
    }),
  ]);
}

/** The end of a pod made by hand. Links go first: those of a deleted namespace go some time later. */
export function removeByHand(pod: Pod): void {
  for (const hostDev of hostDevs.get(pod.containerID) ?? []) pod.node.exec(["ip", "link", "delete", hostDev]);
  if (pod.node.exec(["test", "-e", pod.netns]).exitCode === 0) pod.remove();
}

/** Like makeByHand, and the result that a plugin like ptp would print for it. */
export function attachByHand(pod: Pod, version: string, made: HandMade): CniResult {
  makeByHand(pod, made);
  return {
    cniVersion: version,
    interfaces: [{ name: made.hostDev }, { name: made.ifname ?? "eth0", sandbox: pod.netns }],
    ips: made.ips.map(({ address, gateway }) => ({
      ...(version.startsWith("0.") ? { version: String(familyOf(address.split("/")[0] as string)) } : {}),
      interface: 1,
      address,
      ...(gateway === undefined ? {} : { gateway }),
    })),
  };
}
