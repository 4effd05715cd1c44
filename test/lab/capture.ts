// A capture of the bridge between the nodes, and what kind each packet is of.
// The witness of every claim about encryption: it sees what an eavesdropper in
// the network would see.

import { readFileSync } from "node:fs";
import { prefixContains } from "../../src/net/prefix.ts";
import type { Lab } from "./lab.ts";
import type { Running } from "./namespaces.ts";
import { atPace } from "./pace.ts";
import { type Packet, parsePcap } from "./pcap.ts";

/**
 * plaintext  a pod's address is readable in it: it travelled in plaintext
 * wireguard  UDP from or to port 51820 or 51821, between nodes
 * host       between the nodes themselves, outside the tunnel
 * link       ARP, neighbour discovery, multicast: local to the wire
 * other      anything else
 */
export type Kind = "plaintext" | "wireguard" | "host" | "link" | "other";

export interface Tally {
  readonly packets: Readonly<Record<Kind, number>>;
  readonly bytes: Readonly<Record<Kind, number>>;
}

export const wireguardPorts: readonly number[] = [51820, 51821];

const markerGroup = "224.0.0.99";
const markerTimeoutMs = atPace(20_000);
/** If the kernel had no room for it, it is sent again. */
const markerEveryMs = 1000;
const lookEveryMs = 20;

export class Capture {
  #markers = 0;

  private constructor(
    readonly lab: Lab,
    readonly path: string,
    readonly tcpdump: Running,
  ) {}

  /** Resolves when tcpdump is listening. */
  static async start(lab: Lab, path: string, filter?: string): Promise<Capture> {
    // Without --immediate-mode the last half second would be missing.
    const options = ["-i", "br0", "-n", "--immediate-mode", "-U", "-Z", "root", "-B", "8192"];
    const expression = filter === undefined ? [] : [`host ${markerGroup} or (${filter})`];
    const tcpdump = lab.wire.start(["tcpdump", ...options, "-w", path, ...expression]);
    await tcpdump.saidOnStderr("listening on");
    return new Capture(lab, path, tcpdump);
  }

  /** Everything that was on the wire until now, and certainly all of it. */
  async packets(): Promise<Packet[]> {
    const marker = `lab marker ${++this.#markers};`;
    const deadline = Date.now() + markerTimeoutMs;
    for (let sentMs = 0; Date.now() < deadline; await Bun.sleep(lookEveryMs)) {
      if (Date.now() - sentMs >= markerEveryMs) {
        this.lab.wire.must(["bash", "-c", `printf %s "$0" >/dev/udp/${markerGroup}/9`, marker]);
        sentMs = Date.now();
      }
      const packets = parsePcap(readFileSync(this.lab.wirePath(this.path)));
      const until = packets.findIndex((packet) => holds(packet, marker));
      if (until >= 0) return packets.slice(0, until).filter((packet) => packet.destination !== markerGroup);
    }
    throw new Error(
      `The capture has not seen its marker after ${markerTimeoutMs} ms: the kernel dropped packets`,
    );
  }

  /** The packets of one kind. */
  async packetsOf(kind: Kind): Promise<Packet[]> {
    return (await this.packets()).filter((packet) => this.kindOf(packet) === kind);
  }

  async tally(): Promise<Tally> {
    const packets = { plaintext: 0, wireguard: 0, host: 0, link: 0, other: 0 };
    const bytes = { ...packets };
    for (const packet of await this.packets()) {
      const kind = this.kindOf(packet);
      packets[kind]++;
      bytes[kind] += packet.length;
    }
    return { packets, bytes };
  }

  /** How many packets an eavesdropper can read `text` in. */
  async readable(text: string): Promise<number> {
    return (await this.packets()).filter((packet) => holds(packet, text)).length;
  }

  kindOf(packet: Packet): Kind {
    const { source, destination } = packet;
    if (source === undefined || destination === undefined)
      return packet.etherType === 0x0806 ? "link" : "other";
    if (this.#isPod(source) || this.#isPod(destination)) return "plaintext";
    const neighbourDiscovery = packet.protocol === 58 && (packet.icmpType ?? 0) >= 130;
    if (neighbourDiscovery || /^(22[4-9]|23\d|ff|fe80:)/.test(destination)) return "link";
    if (!this.#isNode(source) || !this.#isNode(destination)) return "other";
    const ports = [packet.sourcePort ?? 0, packet.destinationPort ?? 0];
    return packet.protocol === 17 && ports.some((port) => wireguardPorts.includes(port))
      ? "wireguard"
      : "host";
  }

  /** Ends tcpdump; the file stays readable until the lab ends. */
  async stop(): Promise<void> {
    await this.tcpdump.stop("SIGINT");
  }

  #isPod(ip: string): boolean {
    const prefix = `${ip}/${ip.includes(":") ? 128 : 32}`;
    return this.lab.nodes.some((node) => node.podCidrs.some((cidr) => prefixContains(cidr, prefix)));
  }

  #isNode(ip: string): boolean {
    return this.lab.nodes.some((node) => node.nodeIps.includes(ip));
  }
}

function holds(packet: Packet, text: string): boolean {
  return Buffer.from(packet.bytes.buffer, packet.bytes.byteOffset, packet.bytes.byteLength).includes(text);
}
