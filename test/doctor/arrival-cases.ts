// Cases of the check of spoofed sources.
import { type Case, plan, strict, withKernel } from "./facts.ts";

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
];
