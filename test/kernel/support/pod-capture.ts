// Captures on a pod's interface, with two questions about packet sizes: how long the longest packet is, and
// if an ICMP error said that one was too big.
import { readFileSync } from "node:fs";
import type { Running } from "../../lab/namespaces.ts";
import { type Packet, parsePcap } from "../../lab/pcap.ts";
import type { Pod } from "../../lab/pod.ts";

const ethernetBytes = 14;
/** Local to the pod's link. */
const markerGroup = "224.0.0.99";
const markerTimeoutMs = 20_000;

export class PodCapture {
  static #count = 0;

  private constructor(
    readonly pod: Pod,
    readonly path: string,
    readonly tcpdump: Running,
  ) {}

  /** Resolves when tcpdump is listening. */
  static async start(pod: Pod): Promise<PodCapture> {
    const path = `/run/${pod.name}-${++PodCapture.#count}.pcap`;
    const options = ["-i", "eth0", "-n", "--immediate-mode", "-U", "-Z", "root", "-B", "8192", "-w", path];
    const tcpdump = pod.start(["tcpdump", ...options]);
    await tcpdump.saidOnStderr("listening on");
    return new PodCapture(pod, path, tcpdump);
  }

  /** Everything until now, and certainly all of it: a marker ends it. Stops the capture. */
  async packets(): Promise<Packet[]> {
    const deadline = Date.now() + markerTimeoutMs;
    while (Date.now() < deadline) {
      this.pod.exec(["bash", "-c", `printf marker >/dev/udp/${markerGroup}/9`]);
      const packets = parsePcap(readFileSync(this.pod.node.outsidePath(this.path)));
      const until = packets.findIndex(({ destination }) => destination === markerGroup);
      if (until >= 0) {
        await this.tcpdump.stop("SIGINT");
        return packets.slice(0, until);
      }
      await Bun.sleep(20);
    }
    throw new Error(`The capture in ${this.pod.label} has not seen its marker after ${markerTimeoutMs} ms`);
  }
}

/** Bytes of the longest TCP packet from an address, IP header included. */
export function longestSegment(packets: readonly Packet[], source: string): number {
  const tcp = packets.filter((packet) => packet.protocol === 6 && packet.source === source);
  return Math.max(0, ...tcp.map(({ length }) => length - ethernetBytes));
}

/** The MTUs that "fragmentation needed" (RFC 1191) and "packet too big" (RFC 4443, 3.2) messages name. */
export function saidTooBig(packets: readonly Packet[]): number[] {
  return packets.flatMap(({ etherType, protocol, icmpType, bytes }) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (etherType === 0x86dd) return protocol === 58 && icmpType === 2 ? [view.getUint32(54 + 4)] : [];
    const icmp = ethernetBytes + ((bytes[ethernetBytes] as number) & 15) * 4;
    return protocol === 1 && icmpType === 3 && bytes[icmp + 1] === 4 ? [view.getUint16(icmp + 6)] : [];
  });
}

/** True for all parts of a fragmented packet. */
export function isFragment({ etherType, bytes }: Packet): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (etherType === 0x0800) return (view.getUint16(ethernetBytes + 6) & 0x3fff) !== 0;
  return etherType === 0x86dd && bytes[ethernetBytes + 6] === 44;
}
