// Counts the port checks of peers: datagrams that each node sends to the WireGuard ports of every other
// node, from a port that it has never used before (agent/port-checks.ts). A stateful firewall admits answers
// of a tunnel that is in use, also where it admits nothing that the other node begins. A port check shows
// what it admits, because no connection that a firewall remembers can let it in. The chain stands behind all
// filters of this node, so that what they drop is not counted. Pure.
import type { Family } from "../../net/ip.ts";
import type { NftChain, NftRule, NftSet } from "../../net/nftables.ts";
import { accept, byInterfaces, inSet } from "./rules.ts";
import { addressSet, type Firewall, families } from "./sets.ts";

/** This priority comes after the filters of other programs. */
const afterFiltersPriority = 1000;

/** Returns the name of the set that counts what arrives at a port; its elements are addresses of peers. */
export function checkSet(family: Family, port: number): string {
  return `checks${family}_${port}`;
}

export function checkSets({ ports, senders }: Pick<Firewall, "ports" | "senders">): NftSet[] {
  return ports.flatMap((port) =>
    families.map((family) => ({ ...addressSet(checkSet(family, port), family, senders), counter: true })),
  );
}

/** Packets of the tunnels leave the chain first, because there are many of them. */
export function checkChain({ ports, devices }: Firewall): NftChain {
  return {
    name: "port_checks",
    base: { type: "filter", hook: "input", priority: afterFiltersPriority, policy: "accept" },
    rules: [
      ...ports.map((port): NftRule => [{ kind: "port", protocol: "udp", field: "sport", port }, accept]),
      ...byInterfaces(devices, "iif", accept),
      ...ports.flatMap((port) =>
        families.map(
          (family): NftRule => [
            { kind: "port", protocol: "udp", field: "dport", port },
            { kind: "wireguardMessage" },
            inSet(family, "saddr", checkSet(family, port)),
          ],
        ),
      ),
    ],
  };
}
