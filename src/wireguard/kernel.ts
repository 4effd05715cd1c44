// WireGuard in the kernel, by its generic netlink family (linux/wireguard.h).
// Links are made and removed through netlink/; here they are only configured.
import { Errno } from "../linux/errno.ts";
import type { Device, DeviceConfig, Peer, PeerConfig } from "../net/device.ts";
import { familyBits, familyOf } from "../net/ip.ts";
import { zeroKey } from "../net/key.ts";
import { NetlinkError } from "../netlink/error.ts";
import { NETLINK_GENERIC, NetlinkSocket } from "../netlink/socket.ts";
import { addressFamily } from "../wire/codec.ts";
import { DecodeError } from "../wire/error.ts";
import { CTRL_CMD_GETFAMILY, controlMessage, GENL_ID_CTRL } from "../wire/genl.ts";
import {
  type AllowedIpAttributes,
  type DeviceMessage,
  deviceMessage,
  type PeerAttributes,
  WG_CMD_GET_DEVICE,
  WG_CMD_SET_DEVICE,
  WG_GENL_NAME,
  WG_GENL_VERSION,
  WGDEVICE_F_REPLACE_PEERS,
  WGPEER_F_REMOVE_ME,
  WGPEER_F_REPLACE_ALLOWEDIPS,
  WGPEER_F_UPDATE_ONLY,
} from "../wire/wireguard.ts";
import type { WireGuard } from "./backend.ts";
import { splitConfig } from "./split.ts";

/**
 * Opens the kernel's WireGuard in the namespace at `netns` (default: this
 * thread's), or returns undefined if the kernel has none. Throws SysError, NetlinkError.
 */
export function openKernelWireGuard(netns?: string): WireGuard | undefined {
  const socket = NetlinkSocket.open(NETLINK_GENERIC, netns);
  try {
    const family = findFamilyId(socket);
    if (family !== undefined) return new KernelWireGuard(socket, family);
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
  socket[Symbol.dispose]();
  return undefined;
}

class KernelWireGuard implements WireGuard {
  readonly backend = "kernel";
  #writes = 0;

  constructor(
    private readonly socket: NetlinkSocket,
    private readonly family: number,
  ) {}

  get writes(): number {
    return this.#writes;
  }

  /** Throws NetlinkError: EOPNOTSUPP if the link is of another kind. */
  read(name: string): Device | undefined {
    let merge = new DeviceMerge(name);
    const request = {
      type: this.family,
      flags: 0,
      describe: () => `read WireGuard device ${name}`,
      write: (to: Parameters<typeof deviceMessage.write>[0]) =>
        deviceMessage.write(to, {
          cmd: WG_CMD_GET_DEVICE,
          version: WG_GENL_VERSION,
          WGDEVICE_A_IFNAME: name,
        }),
    };
    const restart = () => {
      merge = new DeviceMerge(name);
    };
    try {
      this.socket.dump(request, restart, (bytes, at, end) => {
        merge.add(deviceMessage.read(bytes, at, end, "skip"));
      });
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === Errno.ENODEV) return undefined;
      throw error;
    }
    return merge.device();
  }

  readAll(names: readonly string[]): (Device | undefined)[] {
    return names.map((name) => this.read(name));
  }

  /** Throws NetlinkError. */
  configure(name: string, config: DeviceConfig): void {
    for (const part of splitConfig(config)) {
      const message = toMessage(name, part);
      const [refusal] = this.socket.transact([
        {
          type: this.family,
          flags: 0,
          describe: () => `configure WireGuard device ${name}`,
          write: (to) => deviceMessage.write(to, message),
        },
      ]);
      if (refusal !== undefined) throw refusal;
      this.#writes++;
    }
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
  }
}

/** Puts a device together from the messages of a dump; a peer may go on in the next one. */
export class DeviceMerge {
  readonly #peers: Peer[] = [];
  #device: DeviceMessage = {};

  constructor(private readonly name: string) {}

  add(message: DeviceMessage): void {
    const { WGDEVICE_A_PEERS: peers = [], ...device } = message;
    // Only the first message has the device's own properties.
    if (device.WGDEVICE_A_LISTEN_PORT !== undefined) this.#device = device;
    for (const peer of peers) this.#addPeer(peer);
  }

  device(): Device {
    const { WGDEVICE_A_PUBLIC_KEY: publicKey, WGDEVICE_A_PRIVATE_KEY: privateKey } = this.#device;
    return {
      name: this.name,
      backend: "kernel",
      ...(isSet(publicKey) ? { publicKey } : {}),
      ...(isSet(privateKey) ? { privateKey } : {}),
      listenPort: this.#device.WGDEVICE_A_LISTEN_PORT ?? 0,
      fwmark: this.#device.WGDEVICE_A_FWMARK ?? 0,
      peers: this.#peers,
    };
  }

  #addPeer(attributes: PeerAttributes): void {
    const publicKey = attributes.WGPEER_A_PUBLIC_KEY ?? zeroKey;
    const allowedIPs: string[] = [];
    for (const ip of attributes.WGPEER_A_ALLOWEDIPS ?? []) allowedIPs.push(formatAllowedIp(ip));
    const last = this.#peers.at(-1);
    if (last?.publicKey === publicKey)
      this.#peers[this.#peers.length - 1] = { ...last, allowedIPs: last.allowedIPs.concat(allowedIPs) };
    else this.#peers.push(toPeer(publicKey, attributes, allowedIPs));
  }
}

/** The message that asks for one part of a change. */
export function toMessage(name: string, config: DeviceConfig): DeviceMessage {
  return {
    cmd: WG_CMD_SET_DEVICE,
    version: WG_GENL_VERSION,
    WGDEVICE_A_IFNAME: name,
    WGDEVICE_A_PRIVATE_KEY: config.privateKey,
    WGDEVICE_A_LISTEN_PORT: config.listenPort,
    WGDEVICE_A_FWMARK: config.fwmark,
    WGDEVICE_A_FLAGS: config.replacePeers ? WGDEVICE_F_REPLACE_PEERS : undefined,
    WGDEVICE_A_PEERS: config.peers?.length ? config.peers.map(fromPeer) : undefined,
  };
}

/** Throws DecodeError. */
function formatAllowedIp({
  WGALLOWEDIP_A_IPADDR: ip,
  WGALLOWEDIP_A_CIDR_MASK: length,
}: AllowedIpAttributes): string {
  if (ip === undefined || length === undefined || length > familyBits(familyOf(ip)))
    throw new DecodeError(`wireguard: an allowed IP has the address ${ip} and the length ${length}`);
  return `${ip}/${length}`;
}

function toPeer(publicKey: string, attributes: PeerAttributes, allowedIPs: string[]): Peer {
  const endpoint = attributes.WGPEER_A_ENDPOINT;
  return {
    publicKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    hasPresharedKey: isSet(attributes.WGPEER_A_PRESHARED_KEY),
    keepaliveSeconds: attributes.WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL ?? 0,
    lastHandshakeMs: attributes.WGPEER_A_LAST_HANDSHAKE_TIME ?? 0,
    rxBytes: attributes.WGPEER_A_RX_BYTES ?? 0,
    txBytes: attributes.WGPEER_A_TX_BYTES ?? 0,
    allowedIPs,
  };
}

function fromPeer(peer: PeerConfig): PeerAttributes {
  if (peer.remove) return { WGPEER_A_PUBLIC_KEY: peer.publicKey, WGPEER_A_FLAGS: WGPEER_F_REMOVE_ME };
  const flags =
    (peer.replaceAllowedIPs ? WGPEER_F_REPLACE_ALLOWEDIPS : 0) | (peer.updateOnly ? WGPEER_F_UPDATE_ONLY : 0);
  return {
    WGPEER_A_PUBLIC_KEY: peer.publicKey,
    WGPEER_A_FLAGS: flags === 0 ? undefined : flags,
    WGPEER_A_PRESHARED_KEY: peer.presharedKey,
    WGPEER_A_ENDPOINT: peer.endpoint,
    WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: peer.keepaliveSeconds,
    WGPEER_A_ALLOWEDIPS: peer.allowedIPs?.length ? peer.allowedIPs.map(fromPrefix) : undefined,
  };
}

function fromPrefix(prefix: string): AllowedIpAttributes {
  const slash = prefix.indexOf("/");
  return {
    WGALLOWEDIP_A_FAMILY: addressFamily(familyOf(prefix)),
    WGALLOWEDIP_A_IPADDR: prefix.slice(0, slash),
    WGALLOWEDIP_A_CIDR_MASK: Number(prefix.slice(slash + 1)),
  };
}

/** The kernel shows "no key" as zeros. */
function isSet(key: string | undefined): key is string {
  return key !== undefined && key !== zeroKey;
}

/** Returns the number of the "wireguard" family; asking for it loads the module if there is one. */
function findFamilyId(socket: NetlinkSocket): number | undefined {
  let id: number | undefined;
  socket.get(
    {
      type: GENL_ID_CTRL,
      flags: 0,
      describe: () => "find the kernel's WireGuard",
      write: (to) =>
        controlMessage.write(to, {
          cmd: CTRL_CMD_GETFAMILY,
          version: 1,
          CTRL_ATTR_FAMILY_NAME: WG_GENL_NAME,
        }),
    },
    (bytes, at, end) => {
      id = controlMessage.read(bytes, at, end, "skip").CTRL_ATTR_FAMILY_ID;
    },
  );
  return id;
}
