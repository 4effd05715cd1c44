// The chains for packets from this node's own interfaces with a source that the peers
// do not know as one of this node's, and would drop. In permissive mode it stays outside the
// tunnel, counted, until they have heard of the pod; in strict mode postrouting refuses it.
// Either counts it as what goes to the peer, so a source that is made up comes before. Pure.
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

/** Leads to the chain of what goes to peers and their pods; no element counts it. */
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
 * A pod that is not yet known to the peers: they would drop what comes from it by the
 * tunnel, so it stays outside until they have, as without us, and is counted.
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
