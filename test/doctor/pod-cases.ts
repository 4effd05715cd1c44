// What the checks of pods' links see.
import { type Case, withKernel } from "./facts.ts";

export const podCases: readonly Case[] = [
  [
    "pods of ours that nothing guards",
    withKernel({ podLinks: { standalone: 2, isGuarded: false, forged: 0, open: [] } }),
    "pod links",
    "fail",
    /reverse-path filter of IPv4 checks what 2 pods/,
    /wg-cni sync/,
  ],
  [
    "the same, and a kernel without nftables",
    withKernel({ podLinks: { standalone: 1, isGuarded: false, forged: 0, open: [] }, hasFirewall: false }),
    "pod links",
    "fail",
    /what 1 pod of wg-cni's sends/,
    /modprobe nf_tables/,
  ],
  [
    "a link of another plugin's, by which the node takes router advertisements",
    withKernel({
      podLinks: { standalone: 0, isGuarded: false, forged: 0, open: ["cni0: router advertisements"] },
    }),
    "pod links",
    "warn",
    /^1 link of pods, made by another plugin, lets/,
    /accept_ra/,
  ],
  [
    "packets in the name of others",
    withKernel({ podLinks: { standalone: 1, isGuarded: true, forged: 3, open: [] } }),
    "pod links",
    "warn",
    /^3 packets of pods in the name of others were dropped/,
    /iifgroup 18099/,
  ],
];
