// Where the tunnel's MTU comes from: the interface that carries this node's
// endpoint. Reads the kernel; the arithmetic is plan/mesh.ts.
import type { NodeRecord } from "../net/record.ts";
import type { OwnedPeer } from "../plan/claims.ts";
import { deriveMtu, slots } from "../plan/mesh.ts";
import { type Settings, slotDevice } from "../plan/settings.ts";
import type { Kernel } from "./kernel.ts";

/** Ethernet's, where no interface has the endpoint: a node behind NAT. */
const assumedUplinkMtu = 1500;

export interface DerivedMtu {
  readonly bytes: number;
  /** "eth0 has 1500, less 80 for the tunnel", for status. */
  readonly reason: string;
}

export function observeMtu(
  settings: Settings,
  node: NodeRecord,
  peers: readonly OwnedPeer[],
  kernel: Kernel,
): DerivedMtu {
  if (settings.mtu !== 0) return { bytes: settings.mtu, reason: "set by hand" };
  const uplink = findUplink(settings, node, kernel);
  const uplinkMtu = uplink?.mtu ?? assumedUplinkMtu;
  const bytes = deriveMtu(settings, node, peers, uplinkMtu);
  const from =
    uplink === undefined
      ? `no interface has ${node.endpoints[0] ?? "an endpoint"}: ${uplinkMtu} is assumed`
      : `${uplink.name} has ${uplinkMtu}`;
  return { bytes, reason: `${from}, less ${uplinkMtu - bytes} for the tunnel` };
}

function findUplink(settings: Settings, node: NodeRecord, kernel: Kernel) {
  const devices = slots.map((slot) => slotDevice(settings, slot));
  const address = kernel.host
    .addresses()
    .find(({ ip, dev }) => node.endpoints.includes(ip) && !devices.includes(dev));
  return address === undefined ? undefined : kernel.host.findLink(address.dev);
}
