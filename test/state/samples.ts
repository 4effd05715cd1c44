// Values for the state tests.
import type { NodeRecord } from "../../src/net/record.ts";
import type { Attachment, Owner } from "../../src/state/model.ts";

export function owner(containerID: string, network = "pods"): Owner {
  return { network, containerID, ifname: "eth0" };
}

export function attachment(of: Owner, change: Partial<Attachment> = {}): Attachment {
  return {
    ...of,
    netns: `/run/netns/${of.containerID}`,
    role: "chained",
    ips: ["10.1.0.5", "fd00::5"],
    restore: { mtu: 1500 },
    createdAtMs: 1_700_000_000_000,
    ...change,
  };
}

export function peer(name: string, change: Partial<NodeRecord> = {}): NodeRecord {
  return {
    name,
    slots: [{ slot: "a", publicKey: `key-of-${name}`, port: 51820, state: "active" }],
    endpoints: ["192.0.2.1"],
    nodeIPs: ["192.0.2.1"],
    podCIDRs: ["10.1.0.0/24"],
    ...change,
  };
}
