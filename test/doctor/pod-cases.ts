// Cases of the check of pods' links.
import { type Case, withKernel } from "./facts.ts";

export const podCases: readonly Case[] = [
  [
    "pods of ours that no table guards",
    withKernel({ podLinks: { standalone: 2, isGuarded: false, forged: 0, open: [] } }),
    "pod links",
    "fail",
    / 2 pods$/,
    /wg-cni sync/,
  ],
  [
    "the same, and a kernel without nftables",
    withKernel({ podLinks: { standalone: 1, isGuarded: false, forged: 0, open: [] }, hasFirewall: false }),
    "pod links",
    "fail",
    / 1 pod$/,
    /modprobe nf_tables/,
  ],
  [
    "a link of another plugin's, by which the node takes router advertisements",
    withKernel({
      podLinks: { standalone: 0, isGuarded: false, forged: 0, open: ["cni0: router advertisements"] },
    }),
    "pod links",
    "warn",
    /^1 link /,
    /accept_ra/,
  ],
  [
    "packets with an address of another",
    withKernel({ podLinks: { standalone: 1, isGuarded: true, forged: 3, open: [] } }),
    "pod links",
    "warn",
    /^3 packets /,
    /iifgroup 18099/,
  ],
];
