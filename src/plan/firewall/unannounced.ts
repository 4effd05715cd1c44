// The chains for packets from this node's own interfaces whose source the peers do not know as one of this
// node's: peers would drop them. In permissive mode these packets stay outside the tunnel and are counted
// until the peers know the pod. In strict mode postrouting refuses them. Both count the packet as sent to
// the peer, so made-up sources are sorted out before. Pure.
import type { NftChain, NftRule } from "../../net/nftables.ts";
import { marksOf } from "./marks.ts";
import { accept, byInterfaces, goto, inSet } from "./rules.ts";
import { type Firewall, families, localSet, nodeSet, podSet } from "./sets.ts";
import { ciliumHost, spoofedChain } from "./sources.ts";

export const unannouncedChain = "unannounced";
const linkedChain = "linked";
const divertedChain = "diverted";
const outsideChain = "outside";

export function unannouncedChains(firewall: Firewall): NftChain[] {
  const { uplinks, strict } = firewall;
  return [
    ...(strict ? [] : divertedChains(firewall)),
    {
      name: linkedChain,
      rules: [
        [{ kind: "routedBackBy", device: ciliumHost }, strict ? accept : goto(divertedChain)],
        [{ kind: "routedBack", not: true }, goto(spoofedChain)],
        ...(strict ? [] : [[goto(divertedChain)]]),
      ],
    },
    {
      name: unannouncedChain,
      rules: [
        ...byInterfaces(uplinks, "iif", accept),
        ...families.map((family): NftRule => [inSet(family, "saddr", localSet(family)), accept]),
        ...toPeers,
      ],
    },
  ];
}

/** Leads packets to peers and their pods to their chain; no element counts them here. */
const toPeers: readonly NftRule[] = [
  ...families.map((family): NftRule => [inSet(family, "daddr", nodeSet(family)), goto(linkedChain)]),
  ...families.map(
    (family): NftRule => [
      { kind: "inSet", family, field: "daddr", set: podSet(family, "out"), not: true },
      accept,
    ],
  ),
  [goto(linkedChain)],
];

/**
 * Makes the chains for pods that the peers do not know yet. Peers would drop their packets from the tunnel,
 * so these packets stay outside and are counted until the peers know the pod.
 */
function divertedChains({ devices, mark }: Firewall): NftChain[] {
  const { inside, arrived, none } = marksOf(mark);
  return [
    { name: outsideChain, rules: [[{ kind: "setMark", mark: arrived }]] },
    {
      name: divertedChain,
      rules: [
        [{ kind: "setMark", mark: inside }],
        ...devices.map((device): NftRule => [{ kind: "routedBy", device }, goto(outsideChain)]),
        [{ kind: "setMark", mark: none }],
      ],
    },
  ];
}
