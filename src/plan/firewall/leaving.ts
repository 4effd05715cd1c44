// The chains for packets whose source is final: they stand behind the translation of sources. Peers take from
// the tunnel only packets from a node IP of this node or from its pods. They drop what a rule of the host has
// given another source, and do not tell. So these packets are counted here, by source and by destination;
// strict mode also drops them. A packet that goes to a pod outside the tunnel is counted if a rule of the host
// has translated it: it would be dropped once it takes the tunnel. Pure.
//
// Only packets of this node's own pods and processes count, as connection tracking knows them from before they
// were changed. A source that a pod or another host makes up does not count: it must not stop a rollout.
//
//   packet leaves by          its source is              it is
//   ────────────────────────  ─────────────────────────  ───────────────────────────────────────
//   one of our devices        this node's                taken
//                             made of one of this        counted by source and by destination
//                             node's
//                             any other                  another host's: only strict mode counts it
//   another interface, to a   this node's, or another    left alone: in the tunnel a masquerade
//   peer's pod                address of the host        would choose another one
//                             translated from one of     counted by source and by destination
//                             this node's
import type { NftChain, NftRule, NftStatement } from "../../net/nftables.ts";
import { accept, byInterfaces, drop, from, goto, icmpErrors, inSet } from "./rules.ts";
import {
  type Firewall,
  families,
  hostSet,
  localSet,
  ownSet,
  podSet,
  refusedDestinationSet,
  refusedSourceSet,
  unknownSourceSet,
} from "./sets.ts";

/** This priority comes after all foreign chains that may change a source (translation is at 100), so that it is the one that the other node would see. */
const tunneledPriority = 1000;

const knownChain = "known";
const routedChain = "routed";
const foreignChain = "foreign_source";
const changedChain = "source_changed";
const outsideChain = "translated_outside";

const isTranslated: NftStatement = { kind: "translated", of: "either" };

export function leavingChains(firewall: Firewall): NftChain[] {
  const { connections, devices, strict } = firewall;
  // Without connection tracking only strict mode has something to do here.
  if (!connections && !strict) return [];
  // Strict mode drops elsewhere what leaves outside the tunnel, and counts it.
  const judgesOutside = connections && !strict;
  return [
    ...(strict ? foreignChains(firewall) : []),
    ...(connections ? [changed(firewall)] : []),
    known(firewall),
    ...(judgesOutside ? [outside] : []),
    {
      name: "tunneled",
      base: { type: "filter", hook: "postrouting", priority: tunneledPriority, policy: "accept" },
      rules: [
        ...byInterfaces(devices, "oif", goto(knownChain)),
        ...(judgesOutside ? [[isTranslated, goto(outsideChain)]] : []),
      ],
    },
  ];
}

function known({ connections, strict }: Firewall): NftChain {
  const last = strict ? goto(foreignChain) : accept;
  return {
    name: knownChain,
    rules: [
      ...fromThisNode,
      // Connection tracking gives an error the connection of the packet that it quotes, which has other addresses.
      ...(connections ? [...isError.map((error): NftRule => [error, last]), ...ifChanged] : []),
      ...(strict ? [[last]] : []),
    ],
  };
}

function changed({ strict }: Firewall): NftChain {
  const count = (field: "saddr" | "daddr", setOf: typeof refusedSourceSet) =>
    families.map((family): NftRule => [{ kind: "countAddress", family, field, set: setOf(family) }]);
  return {
    name: changedChain,
    rules: [
      ...count("saddr", refusedSourceSet),
      ...count("daddr", refusedDestinationSet),
      ...(strict ? [[goto(foreignChain)]] : []),
    ],
  };
}

/** Strict mode drops these packets here, where they are counted. The other node would not count them. */
function foreignChains({ uplinks }: Firewall): NftChain[] {
  return [
    { name: routedChain, rules: [[{ kind: "countInterface", set: unknownSourceSet }], [drop]] },
    {
      name: foreignChain,
      rules: [
        // Packets that other hosts would send through this node's tunnel are not this node's plaintext.
        ...byInterfaces(uplinks, "iif", goto(routedChain)),
        ...families.flatMap((family): NftRule[] => [
          [inSet(family, "daddr", podSet(family, "out")), drop],
          [inSet(family, "daddr", hostSet(family, "out")), drop],
        ]),
      ],
    },
  ];
}

const isError = families.flatMap((family) =>
  icmpErrors[family].map((type): NftStatement => ({ kind: "icmp", family, type })),
);

/** Nearly all packets end here, after one look-up. */
const fromThisNode: readonly NftRule[] = families.flatMap((family) => [
  from(family, localSet(family)),
  from(family, ownSet(family)),
]);

/** Of a packet with a foreign source: its connection knows it by a source of this node. */
const ifChanged: readonly NftRule[] = families.flatMap((family) =>
  [localSet(family), ownSet(family)].flatMap((set) =>
    (["original", "reply"] as const).map(
      (of): NftRule => [{ kind: "connectionSource", of, family, set }, goto(changedChain)],
    ),
  ),
);

/**
 * Judges translated packets that go to pods outside the tunnel: in mode off, or before the peer's gate is open.
 * The source that a masquerade chooses depends on the interface, and would be a node IP in the tunnel.
 */
const outside: NftChain = {
  name: outsideChain,
  rules: [
    ...fromThisNode,
    [{ kind: "local", field: "saddr" }, accept],
    // No element counts the packet here.
    ...families.map(
      (family): NftRule => [
        { kind: "inSet", family, field: "daddr", set: podSet(family, "out"), not: true },
        accept,
      ],
    ),
    ...isError.map((error): NftRule => [error, accept]),
    ...ifChanged,
  ],
};
