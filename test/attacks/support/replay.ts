// Encrypted messages as a machine in the network of the nodes records them, and sends them again.
import { ipBytes } from "../../../src/net/ip.ts";
import { checksum } from "../../kernel/security/support/frames.ts";
import { wireguardPorts } from "../../lab/capture.ts";
import type { Node } from "../../lab/node.ts";
import { pick, type Random } from "../../plan/random.ts";

const mostRecorded = 500;
const udp = 17;
const ipHeaderBytes = 20;
const udpHeaderBytes = 8;
const replays = 400;
/** So many at a time: a flood is the matter of another test. */
const burst = 20;
const everyMs = 20;
const sources = ["192.0.2.66", "192.0.2.254", "203.0.113.9", "10.244.200.9"] as const;

export class Recorder {
  readonly #recorded: Uint8Array[] = [];

  /** Keeps it if it is a datagram to a WireGuard port, without a fragment. */
  note(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    const headerBytes = ipHeaderBytes + udpHeaderBytes;
    if (packet.length < headerBytes || packet[0] !== 0x45 || packet[9] !== udp) return;
    if (!wireguardPorts.includes(view.getUint16(ipHeaderBytes + 2))) return;
    this.#recorded.push(packet.slice());
    if (this.#recorded.length > mostRecorded) this.#recorded.shift();
  }

  /** Sends some of what it has for the node, from where it came and from elsewhere. */
  async replay(node: Node, random: Random, send: (packet: Uint8Array) => void): Promise<void> {
    const to = ipBytes(node.ip(4) as string);
    const own = this.#recorded.filter((packet) => to.every((byte, i) => packet[16 + i] === byte));
    if (own.length === 0) throw new Error(`Nothing encrypted has come to ${node.name}`);
    for (let i = 0; i < replays; i++) {
      const packet = pick(random, own).slice();
      if (random() < 0.7) packet.set(ipBytes(pick(random, sources)), 12);
      seal(packet);
      send(packet);
      if (i % burst === burst - 1) await Bun.sleep(everyMs);
    }
  }
}

/** UDP over IPv4 needs no checksum of its own. */
function seal(packet: Uint8Array): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  view.setUint16(ipHeaderBytes + 6, 0);
  view.setUint16(10, 0);
  view.setUint16(10, checksum(packet.subarray(0, ipHeaderBytes)));
}
