import type { Endpoint } from "../../net/device.ts";
import type { NftTable } from "../../net/nftables.ts";
import type { Address, Route, Rule } from "../../net/objects.ts";

// The mesh as plain values: the objects of wg-cni in the kernel, desired (desired.ts) or observed
// (reconcile/observe.ts). diff.ts compares the two.

/** The state of the kernel. Desired and observed state have one shape, so that they can be compared. */
export interface Mesh {
  readonly links: ReadonlyMap<string, MeshLink>;
  readonly devices: ReadonlyMap<string, MeshDevice>;
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  /** The sysctls that we set, by their path below /proc/sys. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** Our nftables tables; none if the kernel has no nftables. */
  readonly firewall: readonly NftTable[];
}

export interface MeshLink {
  readonly kind: string;
  readonly mtu: number;
  readonly up: boolean;
  /**
   * NAPI threading. Desired: absent on a device that cannot have it, a TUN device or one without
   * peers. Observed: absent if /sys does not show it.
   */
  readonly threaded?: boolean;
}

export interface MeshDevice {
  /** Absent if the device has none (observed only). */
  readonly publicKey?: string;
  readonly listenPort: number;
  readonly fwmark: number;
  /** The key of the map is the public key. */
  readonly peers: ReadonlyMap<string, MeshPeer>;
}

export interface MeshPeer {
  readonly endpoint?: Endpoint;
  readonly keepaliveSeconds: number;
  readonly hasPresharedKey: boolean;
  readonly allowedIPs: readonly string[];
  /** Unix milliseconds; 0 is never. Observed only. */
  readonly lastHandshakeMs: number;
  /** True if an endpoint that the peer has roamed to is kept while its handshake is fresh. Desired only. */
  readonly mayRoam?: boolean;
  /** True if an agent has opened the gate onto this device: its traffic is here. Desired only. */
  readonly isOpen?: boolean;
}

/** The desired state after an uninstall: nothing. */
export const emptyMesh: Mesh = {
  links: new Map(),
  devices: new Map(),
  addresses: [],
  routes: [],
  rules: [],
  sysctls: new Map(),
  firewall: [],
};
