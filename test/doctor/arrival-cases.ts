// Cases of the checks of spoofed sources and of translated ones.
import { type Case, peer, plan, strict, withKernel } from "./facts.ts";

const arrived = { peerPackets: 0, spoofedPackets: 0, unannouncedPackets: 0 };

export const arrivalCases: readonly Case[] = [
  [
    "packets with others' sources",
    withKernel({ arrivals: [{ interface: "veth7", ...arrived, spoofedPackets: 3 }] }),
    "spoofed sources",
    "warn",
    /by 1 interface$/,
    /find the pod/,
  ],
  [
    "packets with others' sources, in strict mode",
    withKernel({
      plan: { ...plan, settings: strict },
      arrivals: [{ interface: "eth0", ...arrived, unannouncedPackets: 1 }],
    }),
    "spoofed sources",
    "warn",
    /dropped/,
    /tcpdump/,
  ],
  [
    "packets in peers' names only",
    withKernel({ arrivals: [{ interface: "eth0", ...arrived, peerPackets: 2 }] }),
    "spoofed sources",
    "ok",
    /no packet/,
  ],
  ...translatedCases(),
];

/** The same, of packets that leave. */
function translatedCases(): Case[] {
  const refused = { sources: new Map([["198.51.100.9", 4]]), peers: ["n2"] };
  const [lossy, name] = [{ ...peer, state: "drift", loss: "a rule" } as const, "translated sources"];
  return [
    ["sources that peers take", withKernel({}), name, "ok", /these take/],
    ["sources that no peer takes", withKernel({ refused }), name, "warn", /198\.51\.100\.9/, /iptables-save/],
    [
      "sources that no peer takes, in mode off",
      withKernel({ refused, plan: { ...plan, settings: { ...plan.settings, mode: "off" } } }),
      ...([name, "warn", /would be lost/, /iptables-save/] as const),
    ],
    [
      "packets to a peer that are lost for their source",
      withKernel({ refused, peers: [lossy] }),
      ...([name, "fail", /are lost/, /iptables-save/] as const),
    ],
  ];
}
