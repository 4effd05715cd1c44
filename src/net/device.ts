// WireGuard devices as values. Observed types (Device, Peer) say what is there;
// command types (DeviceConfig, PeerConfig) say what to change: an absent
// property means "leave as it is".

/** The destination of a peer's packets: an address without brackets, and a UDP port. */
export interface Endpoint {
  readonly ip: string;
  readonly port: number;
}

/** True if both are one endpoint, or both are absent. */
export function isSameEndpoint(one: Endpoint | undefined, other: Endpoint | undefined): boolean {
  return one?.ip === other?.ip && one?.port === other?.port;
}

/** A peer as read back from a device (WGPEER_A_*). */
export interface Peer {
  readonly publicKey: string;
  /** Absent if the peer has none yet. */
  readonly endpoint?: Endpoint;
  /** True if a preshared key is set; the key itself is never read into our memory. */
  readonly hasPresharedKey: boolean;
  /** Seconds; 0 means off. */
  readonly keepaliveSeconds: number;
  /** Unix time in milliseconds of the last completed handshake; 0 means never. */
  readonly lastHandshakeMs: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Canonical prefixes, in no particular order. */
  readonly allowedIPs: readonly string[];
}

/** A WireGuard device as read back (WGDEVICE_A_*). */
export interface Device {
  readonly name: string;
  readonly backend: Backend;
  /** Absent if no private key is set. */
  readonly publicKey?: string;
  /** Absent if none is set or the reader lacks the right to see it. */
  readonly privateKey?: string;
  readonly listenPort: number;
  /** 0 means off. */
  readonly fwmark: number;
  readonly peers: readonly Peer[];
}

/** "kernel": generic netlink; "userspace": the UAPI socket of a process that holds a TUN device. */
export type Backend = "kernel" | "userspace";

/** A change to one peer. */
export interface PeerConfig {
  readonly publicKey: string;
  /** Removes the peer; the other properties are then ignored. */
  readonly remove?: boolean;
  /** Changes the peer only if it exists (WGPEER_F_UPDATE_ONLY). */
  readonly updateOnly?: boolean;
  /** The zero key removes a preshared key. */
  readonly presharedKey?: string;
  readonly endpoint?: Endpoint;
  /** Seconds, 0 to 65535; 0 switches keepalives off. */
  readonly keepaliveSeconds?: number;
  /** `allowedIPs` becomes the whole list instead of being added. */
  readonly replaceAllowedIPs?: boolean;
  readonly allowedIPs?: readonly string[];
}

/** A change to a device. */
export interface DeviceConfig {
  readonly privateKey?: string;
  readonly listenPort?: number;
  readonly fwmark?: number;
  /** `peers` becomes the whole list instead of being applied to it. */
  readonly replacePeers?: boolean;
  readonly peers?: readonly PeerConfig[];
}
