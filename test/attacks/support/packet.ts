// IP packets of any shape, built by hand: fragments, options, source routes, extension headers. Each
// part of a packet carries the number of its attack, so that it is recognised wherever it is seen. Pure.
import { type Family, familyOf, ipBytes } from "../../../src/net/ip.ts";
import { checksum, joined, pseudoHeader } from "../../kernel/security/support/frames.ts";

export const transports = ["udp", "tcp", "icmp", "raw"] as const;
export type Transport = (typeof transports)[number];

/** Shapes that a packet may have on its way; the last ones of each family name hosts to pass, or end early. */
export const shapes = {
  4: {
    plain: ["plain", "fragments", "nothing", "timestamp"],
    odd: [
      "tiny fragment",
      "router alert",
      "loose route",
      "strict route",
      "hidden loose route",
      "short life",
      "bad option",
    ],
  },
  6: {
    plain: ["plain", "fragments", "atomic fragment", "destination options", "padding"],
    odd: [
      "router alert",
      "chain",
      "routing 0",
      "routing 2",
      "routing 3",
      "segments",
      "hidden segments",
      "fragmented segments",
      "around segments",
      "short life",
      "bad option",
      "bad hop option",
    ],
  },
} as const;
export type Shape = (typeof shapes)[Family]["plain" | "odd"][number];

export interface PacketSpec {
  readonly from: string;
  readonly to: string;
  /** The host that the packet is addressed to at first, if its shape names hosts to pass; else `to` is. */
  readonly via?: string;
  /** The source of the packet that this one is in, if its shape has one around it. */
  readonly by?: string;
  readonly transport: Transport;
  readonly shape: Shape;
  /** The number of the attack, below 2^24. */
  readonly id: number;
}

const numbers = { udp: 17, tcp: 6, raw: 253 } as const;
const icmp = { 4: 1, 6: 58 } as const;
const echoRequest = { 4: 8, 6: 128 } as const;
const next = { hopByHop: 0, ipv6: 41, routing: 43, fragment: 44, destination: 60 } as const;
const moreFragments = { 4: 0x2000, 6: 1 } as const;
const pieceBytes = 24;
/** The first piece has all headers: the kernel takes no other one (RFC 7112). */
const longPieceBytes = 64;
const magic = 0x77674174;
/** A token is 8 bytes: of a fragment's payload at least one is whole. */
const tokenBytes = 8;
const payloadTokens = 6;

/** Shapes by which a packet is addressed to `via`, and names its destination elsewhere. */
export function isRouted(shape: Shape): boolean {
  return /(loose|strict) route|routing|segments/.test(shape);
}

/** Shapes of a packet in a packet, of which only the outer one is addressed to `via`. */
export function isInside(shape: Shape): boolean {
  return shape === "around segments";
}

/** Returns the packet, or its fragments. */
export function buildPackets(spec: PacketSpec): Uint8Array[] {
  const family = familyOf(spec.to);
  // The checksum covers the final destination.
  const transport = transportOf(spec, family);
  const protocol = spec.transport === "icmp" ? icmp[family] : numbers[spec.transport];
  return family === 4 ? ipv4(spec, protocol, transport) : ipv6(spec, protocol, transport);
}

/** The numbers of the attacks whose token is in the bytes. */
export function findIds(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = new Set<number>();
  for (let at = bytes.indexOf(magic >>> 24); at >= 0 && at + tokenBytes <= bytes.length; ) {
    if (view.getUint32(at) === magic) found.add(view.getUint32(at + 4));
    at = bytes.indexOf(magic >>> 24, at + 1);
  }
  return [...found];
}

function payloadOf(id: number): Uint8Array {
  const bytes = new Uint8Array(payloadTokens * tokenBytes);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += tokenBytes) {
    view.setUint32(at, magic);
    view.setUint32(at + 4, id);
  }
  return bytes;
}

function transportOf({ transport, from, to, id }: PacketSpec, family: Family): Uint8Array {
  const payload = payloadOf(id);
  const port = 10_000 + (id % 50_000);
  if (transport === "raw") return payload;
  // TCP's has an option that says nothing, so that tokens begin where fragments may.
  const header = new Uint8Array({ udp: 8, tcp: 24, icmp: 8 }[transport]);
  const message = joined(header, payload);
  const view = new DataView(message.buffer);
  if (transport === "icmp") {
    message[0] = echoRequest[family];
    view.setUint16(4, port);
  } else {
    view.setUint16(0, port);
    view.setUint16(2, port);
    if (transport === "udp") view.setUint16(4, message.length);
    else {
      message.set([6 << 4, 2], 12);
      message.set([1, 1, 1, 1], 20);
    }
  }
  const number = transport === "icmp" ? icmp[family] : numbers[transport];
  const bare = family === 4 && transport === "icmp";
  const covered = bare ? message : joined(pseudoHeader({ from, to }, number, message.length), message);
  view.setUint16({ udp: 6, tcp: 16, icmp: 2 }[transport], checksum(covered));
  return message;
}

function ipv4(spec: PacketSpec, protocol: number, transport: Uint8Array): Uint8Array[] {
  const { shape, to, via = to, id } = spec;
  const options = options4(spec);
  const packet = (part: Uint8Array, offset: number, more: boolean) => {
    const header = new Uint8Array(20 + options.length);
    const view = new DataView(header.buffer);
    header[0] = 0x40 + header.length / 4;
    view.setUint16(2, header.length + part.length);
    view.setUint16(4, id);
    view.setUint16(6, offset / 8 + (more ? moreFragments[4] : 0));
    header.set([shape === "short life" ? 1 : 64, protocol], 8);
    header.set([...ipBytes(spec.from), ...ipBytes(via)], 12);
    header.set(options, 20);
    view.setUint16(10, checksum(header));
    return joined(header, part);
  };
  const size = { fragments: pieceBytes, "tiny fragment": 8 }[shape as string] ?? transport.length;
  return cut(transport, size).map(({ part, offset, more }) => packet(part, offset, more));
}

function options4({ shape, to }: PacketSpec): Uint8Array {
  if (shape === "nothing") return Uint8Array.of(1, 1, 1, 1);
  if (shape === "timestamp") return Uint8Array.of(68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  if (shape === "router alert") return Uint8Array.of(148, 4, 0, 0);
  // A timestamp without room for one: whoever reads it sends an error.
  if (shape === "bad option") return Uint8Array.of(68, 3, 5, 1);
  if (shape === "loose route" || shape === "strict route")
    return Uint8Array.of(shape === "loose route" ? 131 : 137, 7, 4, ...ipBytes(to), 0);
  // Behind an option that is not known: some readers of options end there.
  if (shape === "hidden loose route") return Uint8Array.of(30, 4, 0, 0, 131, 7, 4, ...ipBytes(to), 0);
  return new Uint8Array();
}

interface Extension {
  readonly number: number;
  /** With the next header's number missing, in the first byte. */
  readonly bytes: Uint8Array;
}

const padded = (...option: number[]) => Uint8Array.of(0, 0, ...option, ...padOf(6 - option.length));
const unknownOption = 0x9e;
/** Pad1 and PadN (RFC 8200, 4.2). */
const padOf = (length: number) =>
  length === 0 ? [] : length === 1 ? [0] : [1, length - 2, ...new Uint8Array(length - 2)];

function extensions6({ shape, to }: PacketSpec): Extension[] {
  const hopByHop = { number: next.hopByHop, bytes: padded() };
  const destination = { number: next.destination, bytes: padded() };
  const routing = (type: number, segmentsLeft = 1): Extension => ({
    number: next.routing,
    bytes: Uint8Array.of(0, 2, type, segmentsLeft, 0, 0, 0, 0, ...ipBytes(to)),
  });
  switch (shape) {
    case "padding":
      return [hopByHop];
    case "router alert":
      return [{ number: next.hopByHop, bytes: padded(5, 2, 0, 0) }];
    case "destination options":
      return [destination];
    // Whoever does not know the option drops the packet, and sends an error (RFC 8200, 4.2).
    case "bad option":
      return [{ number: next.destination, bytes: padded(unknownOption, 0) }];
    case "bad hop option":
      return [{ number: next.hopByHop, bytes: padded(unknownOption, 0) }];
    case "chain":
      return [hopByHop, destination, routing(253, 0), destination];
    case "routing 0":
      return [routing(0)];
    case "routing 2":
      return [routing(2)];
    case "routing 3":
      return [routing(3)];
    case "segments":
    case "fragmented segments":
      return [segments(to)];
    // Behind a routing header whose hosts have all been passed.
    case "hidden segments":
      return [routing(253, 0), segments(to)];
    default:
      return [];
  }
}

/** RFC 8754, 2: two segments in reverse order, of which the last one is left. */
function segments(to: string): Extension {
  const bytes = Uint8Array.of(0, 4, 4, 1, 1, 0, 0, 0, ...ipBytes(to), ...ipBytes("::"));
  return { number: next.routing, bytes };
}

/** RFC 8986, 4.16: the last of the segments, which takes the packet out that is inside. */
function lastSegment(last: string): Extension {
  const bytes = Uint8Array.of(0, 2, 4, 0, 0, 0, 0, 0, ...ipBytes(last));
  return { number: next.routing, bytes };
}

function ipv6(spec: PacketSpec, protocol: number, transport: Uint8Array): Uint8Array[] {
  const { from, to, via = to, by = from } = spec;
  if (!isInside(spec.shape)) return ipv6With(extensions6(spec), spec, protocol, transport);
  const inner = joined(...ipv6With([], { ...spec, via: to, shape: "plain" }, protocol, transport));
  return ipv6With([lastSegment(via)], { ...spec, from: by, shape: "plain" }, next.ipv6, inner);
}

function ipv6With(
  headers: readonly Extension[],
  { shape, from, to, via = to, id }: PacketSpec,
  protocol: number,
  transport: Uint8Array,
): Uint8Array[] {
  const packet = (first: number, body: Uint8Array) => {
    const header = new Uint8Array(40);
    header.set([0x60, 0, 0, 0, body.length >> 8, body.length & 255, first, shape === "short life" ? 1 : 64]);
    header.set([...ipBytes(from), ...ipBytes(via)], 8);
    return joined(header, body);
  };
  const chained = headers.map(({ bytes }, i) => {
    const linked = bytes.slice();
    linked[0] = headers[i + 1]?.number ?? protocol;
    return linked;
  });
  const isCut = /fragment|chain/.test(shape);
  const whole = joined(...chained, transport);
  const first = headers[0]?.number ?? protocol;
  if (!isCut) return [packet(first, whole)];
  const sizes: Partial<Record<Shape, number>> = {
    "atomic fragment": whole.length,
    "fragmented segments": longPieceBytes,
  };
  const size = sizes[shape] ?? pieceBytes;
  return cut(whole, size).map(({ part, offset, more }) => {
    const header = new Uint8Array(8);
    const view = new DataView(header.buffer);
    header[0] = first;
    view.setUint16(2, offset + (more ? moreFragments[6] : 0));
    view.setUint32(4, id);
    return packet(next.fragment, joined(header, part));
  });
}

function cut(bytes: Uint8Array, size: number) {
  const parts = [];
  for (let offset = 0; offset < bytes.length; offset += size)
    parts.push({ part: bytes.slice(offset, offset + size), offset, more: offset + size < bytes.length });
  return parts;
}
