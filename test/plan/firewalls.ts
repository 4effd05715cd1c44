// Two firewalls that the tests begin with: with and without host encryption.
import { parseExemption } from "../../src/net/exemption.ts";
import type { Firewall } from "../../src/plan/firewall-sets.ts";

export const firewall: Firewall = {
  table: "wg-cni",
  devices: ["wg-cni-a", "wg-cni-b"],
  mark: { mark: 0x100000, mask: 0x100000 },
  strict: false,
  pods: [
    { prefix: "10.2.0.0/24", peer: "n2" },
    { prefix: "fd00:2::/64", peer: "n2" },
    { prefix: "10.9.0.7/32", peer: "n3" },
  ],
  nodes: ["192.0.2.2", "2001:db8::2"],
  own: ["192.0.2.1", "2001:db8::1"],
  localPods: ["10.1.0.128/25", "10.1.0.0/24", "10.1.1.0/24", "fd00:1::/64"],
  hostEncryption: false,
  exempt: [],
};

export const encrypting: Firewall = {
  ...firewall,
  hostEncryption: true,
  exempt: ["192.0.2.2", "2001:db8::3", "192.0.2.1:6443", "[2001:db8::2]:6443", "udp/4789"].map(
    parseExemption,
  ),
};
