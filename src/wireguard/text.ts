// The text of the cross-platform userspace API: "key=value" lines, an empty
// line at the end, "errno=N" in answers (wireguard.com/xplatform). Pure.
import type { Device, DeviceConfig, Endpoint, Peer, PeerConfig } from "../net/device.ts";
import { parseIp } from "../net/ip.ts";
import { keyFromHex, keyToHex, zeroKey } from "../net/key.ts";
import { parsePrefix } from "../net/prefix.ts";

/** An answer that does not follow the protocol. */
export class UapiTextError extends Error {
  override readonly name = "UapiTextError";
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type MutablePeer = Mutable<Peer> & { allowedIPs: string[] };

/** The answer to a get request: the error number, and the device if that is 0. */
export interface GetAnswer {
  readonly errno: number;
  readonly device: Device;
}

export const getRequest = "get=1\n\n";
const zeroKeyHex = keyToHex(zeroKey);

/** The set request that asks for a change. */
export function formatSet(config: DeviceConfig): string {
  const lines = ["set=1"];
  if (config.privateKey !== undefined) lines.push(`private_key=${keyToHex(config.privateKey)}`);
  if (config.listenPort !== undefined) lines.push(`listen_port=${config.listenPort}`);
  if (config.fwmark !== undefined) lines.push(`fwmark=${config.fwmark}`);
  if (config.replacePeers) lines.push("replace_peers=true");
  for (const peer of config.peers ?? []) formatPeer(lines, peer);
  return `${lines.join("\n")}\n\n`;
}

function formatPeer(lines: string[], peer: PeerConfig): void {
  lines.push(`public_key=${keyToHex(peer.publicKey)}`);
  if (peer.remove) {
    lines.push("remove=true");
    return;
  }
  if (peer.updateOnly) lines.push("update_only=true");
  if (peer.presharedKey !== undefined) lines.push(`preshared_key=${keyToHex(peer.presharedKey)}`);
  if (peer.endpoint !== undefined) lines.push(`endpoint=${formatEndpoint(peer.endpoint)}`);
  if (peer.keepaliveSeconds !== undefined)
    lines.push(`persistent_keepalive_interval=${peer.keepaliveSeconds}`);
  if (peer.replaceAllowedIPs) lines.push("replace_allowed_ips=true");
  for (const prefix of peer.allowedIPs ?? []) lines.push(`allowed_ip=${prefix}`);
}

/** Throws UapiTextError. */
export function parseErrno(answer: string): number {
  const errno = /(?:^|\n)errno=(-?\d+)\n/.exec(answer)?.[1];
  if (errno === undefined) throw new UapiTextError("the answer has no errno");
  return Math.abs(Number(errno));
}

/** Peers by a hash of the text that they were parsed from. */
export type PeersByText = ReadonlyMap<bigint, Peer>;

/** Peers choose parts of their text. Without the seed, they cannot find two texts that have one hash. */
const hashSeed = crypto.getRandomValues(new BigUint64Array(1))[0];
const peerStart = Buffer.from("\npublic_key=");

/**
 * Parses the answer to a get request while it arrives. Most of thousands of peers have the same text in each
 * answer, though not in the same order: these are the same objects, and their text is only hashed.
 */
export class GetParser {
  readonly #peers: Peer[] = [];
  readonly #device: Mutable<Device>;
  readonly #byText = new Map<bigint, Peer>();
  #errno: number | undefined;

  /** `known`: as of the last answer of the device. */
  constructor(
    name: string,
    private readonly known: PeersByText,
  ) {
    this.#device = { name, backend: "userspace", listenPort: 0, fwmark: 0, peers: this.#peers };
  }

  /** The peers that were taken, for the next answer. */
  get byText(): PeersByText {
    return this.#byText;
  }

  /** Takes what is followed by another peer; returns the number of these bytes. Throws UapiTextError, ParseError. */
  take(bytes: Uint8Array): number {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; ; ) {
      const end = buffer.indexOf(peerStart, at);
      if (end < 0) return at;
      this.#takeBlock(bytes.subarray(at, end + 1));
      at = end + 1;
    }
  }

  /** `bytes`: the rest of the answer. Throws UapiTextError, ParseError. */
  finish(bytes: Uint8Array): GetAnswer {
    const last = this.#parse(bytes.subarray(this.take(bytes)));
    if (last !== undefined) this.#peers.push(last);
    if (this.#errno === undefined) throw new UapiTextError("the answer has no errno");
    return { errno: this.#errno, device: this.#device };
  }

  #takeBlock(bytes: Uint8Array): void {
    const hash = Bun.hash.wyhash(bytes, hashSeed);
    const peer = this.known.get(hash) ?? this.#parse(bytes);
    // The lines of the device itself come before those of its peers.
    if (peer === undefined) return;
    this.#peers.push(peer);
    this.#byText.set(hash, peer);
  }

  /** Parses the lines of the device or of one peer, which is returned. */
  #parse(bytes: Uint8Array): Peer | undefined {
    const text = decoder.decode(bytes);
    let peer: MutablePeer | undefined;
    for (let at = 0; at < text.length; ) {
      const end = text.indexOf("\n", at);
      if (end < 0) throw new UapiTextError("the answer ends within a line");
      const equals = text.indexOf("=", at);
      if (equals >= 0 && equals < end) {
        const word = text.slice(at, equals);
        const value = text.slice(equals + 1, end);
        if (word === "errno") this.#errno = parseNumber(word, value.replace("-", ""));
        else if (word === "public_key") peer = emptyPeer(keyFromHex(value));
        else if (peer === undefined) setDevice(this.#device, word, value);
        else setPeer(peer, word, value);
      }
      at = end + 1;
    }
    return peer;
  }
}

const decoder = new TextDecoder();

function emptyPeer(publicKey: string): MutablePeer {
  return {
    publicKey,
    hasPresharedKey: false,
    keepaliveSeconds: 0,
    lastHandshakeMs: 0,
    rxBytes: 0,
    txBytes: 0,
    allowedIPs: [],
  };
}

/** Words that we do not know are passed over: implementations add their own. */
function setDevice(device: Mutable<Device>, word: string, value: string): void {
  if (word === "private_key") {
    const key = keyFromHex(value);
    if (key !== zeroKey) device.privateKey = key;
  } else if (word === "listen_port") device.listenPort = parseNumber(word, value);
  else if (word === "fwmark") device.fwmark = parseNumber(word, value);
}

function setPeer(peer: MutablePeer, word: string, value: string): void {
  switch (word) {
    case "allowed_ip":
      peer.allowedIPs.push(ipv4Prefix.test(value) ? detach(value) : parsePrefix(value));
      break;
    case "endpoint":
      peer.endpoint = parseEndpoint(value);
      break;
    case "preshared_key":
      // All zeros mean none; the key itself is not kept.
      peer.hasPresharedKey = value !== zeroKeyHex;
      break;
    case "persistent_keepalive_interval":
      peer.keepaliveSeconds = parseNumber(word, value);
      break;
    case "last_handshake_time_sec":
      peer.lastHandshakeMs += parseNumber(word, value) * 1000;
      break;
    case "last_handshake_time_nsec":
      peer.lastHandshakeMs += Math.floor(parseNumber(word, value) / 1_000_000);
      break;
    case "rx_bytes":
      peer.rxBytes = parseNumber(word, value);
      break;
    case "tx_bytes":
      peer.txBytes = parseNumber(word, value);
      break;
  }
}

function formatEndpoint({ ip, port }: Endpoint): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** "192.0.2.1:51820" or "[fe80::1%eth0]:51820"; the zone is not ours to keep. */
function parseEndpoint(value: string): Endpoint {
  const colon = value.lastIndexOf(":");
  const host = value.slice(0, colon);
  const ip = host.startsWith("[") ? host.replace(/^\[|(%.*)?\]$/g, "") : host;
  const port = parseNumber("endpoint", value.slice(colon + 1));
  if (port > maxPort) throw new UapiTextError(`endpoint has port ${port}`);
  return { ip: ipv4Address.test(ip) ? detach(ip) : parseIp(ip), port };
}

/** Returns a copy: a piece of a text keeps the whole text in memory, and peers are kept. */
function detach(piece: string): string {
  return Buffer.from(piece, "latin1").toString("latin1");
}

const maxPort = 65_535;
/** Counters have 64 bits. */
const maxDigits = 20;
const octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
/** Most addresses are of IPv4, and to match one is ten times as fast as to parse it. */
const ipv4Address = new RegExp(`^${octet}(?:\\.${octet}){3}$`);
const ipv4Prefix = new RegExp(`^${octet}(?:\\.${octet}){3}/(?:3[0-2]|[12]?\\d)$`);

function parseNumber(word: string, value: string): number {
  // Most counters of most peers.
  if (value === "0") return 0;
  if (!/^\d+$/.test(value) || value.length > maxDigits)
    throw new UapiTextError(`${word} is "${value}", not a number`);
  return Number(value);
}
