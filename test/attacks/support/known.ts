// Attacks that once got through, and those with forged marks, played before all that is drawn.
import type { Attack, Round, Settings } from "./draw.ts";
import { transports } from "./packet.ts";

const settings: Omit<Settings, "mode"> = {
  ...{ rpFilter: 0, sourceRoutes: true, routeLocalnet: true, hostEncryption: "off", tracking: "on" },
  roles: ["standalone", "chained"],
};
const nodes = [1, 2] as const;

/** A machine in the nodes' network speaks as a peer to the node itself, and its packet names a pod as the next host. */
const ledOnByWire = nodes.flatMap((node) =>
  transports.flatMap((transport) =>
    (["peer", "attacker"] as const).flatMap((from): Attack[] => {
      const common = { place: "wire", node, transport, from, to: "pod", via: "this node" } as const;
      return [
        { ...common, family: 4, shape: "loose route" },
        { ...common, family: 4, shape: "strict route" },
        { ...common, family: 6, shape: "segments" },
      ];
    }),
  ),
);

/**
 * A hostile peer sends by the tunnel to the node itself, and its packet names a host behind the node as the next one.
 * Of such segments the checksum covers the last destination: connection tracking does not know the packet.
 */
const ledOnByTunnel = nodes.flatMap((node) =>
  transports.flatMap((transport) =>
    (["world", "gateway", "unannounced", "peer"] as const).flatMap((to): Attack[] => {
      const common = { place: "tunnel", node, transport, from: "attacker", to, via: "this node" } as const;
      return [
        { ...common, family: 4, shape: "loose route" },
        { ...common, family: 6, shape: "segments" },
      ];
    }),
  ),
);

/** The same to an address of the node itself, which no chain for forwarded packets sees. */
const ledToItself = nodes.flatMap((node) =>
  transports.flatMap((transport) =>
    (["loopback", "further address"] as const).flatMap((to): Attack[] => {
      const common = { place: "tunnel", node, transport, from: "attacker", to, via: "this node" } as const;
      return [
        ...(["loose route", "strict route", "hidden loose route"] as const).map(
          (shape) => ({ ...common, family: 4, shape }) as const,
        ),
        ...(["routing 3", "segments", "hidden segments", "fragmented segments"] as const).map(
          (shape) => ({ ...common, family: 6, shape }) as const,
        ),
      ];
    }),
  ),
);

/** A packet in a packet of the attacker's own: the node takes it out, and it comes from the tunnel with any source. */
const takenOut = nodes.flatMap((node) =>
  transports.flatMap((transport) =>
    (["peer", "peer's pod", "neighbour pod", "world"] as const).map(
      (from): Attack => ({
        ...{ place: "tunnel", node, family: 6, transport, shape: "around segments" },
        ...{ from, to: "pod", via: "this node", by: "attacker" },
      }),
    ),
  ),
);

/** The node has asked an address that no node has announced, so what comes from there looks like an answer. */
const ledOnAsAnswer = nodes.flatMap((node): Attack[] => {
  const asked = { place: "host", node, family: 4, transport: "raw", mark: 0x60000000, dev: "eth0" } as const;
  const led = { node, family: 4, transport: "raw", shape: "loose route", from: "unannounced" } as const;
  return [
    { ...asked, shape: "plain", from: "this node", to: "unannounced" },
    ...(["wire", "lan"] as const).map((place) => ({ ...led, place, to: "pod", via: "this node" }) as const),
  ];
});

/** A host's packet to a pod has an option that the other node does not know: its error quotes what the tunnel has hidden. */
const quotedInErrors = nodes.flatMap((node) =>
  transports.flatMap((transport) =>
    (["bad option", "bad hop option"] as const).flatMap((shape): Attack[] => {
      const packet = { node, family: 6, transport, shape } as const;
      return [
        { ...packet, place: "host", mark: 0, from: "this node", to: "peer's pod" },
        { ...packet, place: "tunnel", from: "attacker", to: "pod" },
        { ...packet, place: "tunnel", from: "attacker", to: "this node" },
      ];
    }),
  ),
);

/** A process of the host's network sends to a pod past the tunnel: by a mark, by the interface, and by both. */
const pastTheTunnel = nodes.flatMap((node) =>
  ([4, 6] as const).flatMap((family) =>
    [0, 0x20000000, 0x60000000].map((mark): Attack => {
      const common = { place: "host", node, family, mark, dev: "eth0", shape: "plain" } as const;
      return { ...common, transport: "udp", from: "this node", to: "peer's pod" };
    }),
  ),
);

export function knownRounds(honest: readonly Attack[]): Round[] {
  const attacks = [
    ...[...ledOnByWire, ...ledOnByTunnel, ...ledToItself, ...takenOut],
    ...[...ledOnAsAnswer, ...quotedInErrors, ...pastTheTunnel],
  ];
  return (["strict", "permissive"] as const).map((mode) => ({
    settings: { ...settings, mode },
    attacks,
    honest,
  }));
}
