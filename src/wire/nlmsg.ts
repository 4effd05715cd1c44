// The netlink message header, acknowledgements and the end of dumps
// (struct nlmsghdr, struct nlmsgerr; linux/netlink.h).
//
//   | u32 length | u16 type | u16 flags | u32 sequence | u32 port | payload … | padding to 4 |
import { nested } from "./attributes.ts";
import { readU16, readU32, text, u32 } from "./codec.ts";
import { DecodeError } from "./error.ts";
import type { Writer } from "./writer.ts";

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

const headerBytes = 16;

/** One message in a received buffer; its payload is bytes[at] to before bytes[end]. */
export interface MessageHeader {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Port of the socket that the message answers, or whose request caused it; 0 is the kernel's own. */
  readonly port: number;
  readonly at: number;
  readonly end: number;
}

/** The kernel's answer to a request: errno 0 is success. */
export interface Ack {
  readonly errno: number;
  /** The kernel's own sentence about what is wrong (NLMSGERR_ATTR_MSG). */
  readonly extack?: string;
}

const ackAttributes = nested({ NLMSGERR_ATTR_MSG: [1, text], NLMSGERR_ATTR_OFFS: [2, u32] });

/** Begins a message; returns what `endMessage` needs. */
export function beginMessage(to: Writer, type: number, flags: number, sequence: number): number {
  const start = to.length;
  to.unsigned(0, 4);
  to.unsigned(type, 2);
  to.unsigned(flags, 2);
  to.unsigned(sequence, 4);
  to.unsigned(0, 4);
  return start;
}

/** Fills in the message's length. */
export function endMessage(to: Writer, start: number): void {
  to.patch32(start, to.length - start);
  to.align();
}

/** Reads the header of the received message at `at`. Throws DecodeError. */
export function readHeader(bytes: Uint8Array, at: number, end: number): MessageHeader {
  const length = end - at < headerBytes ? 0 : readU32(bytes, at);
  if (length < headerBytes || length > end - at)
    throw new DecodeError(`nlmsghdr: a message of ${length} bytes, but ${end - at} are left`);
  return {
    type: readU16(bytes, at + 4),
    flags: readU16(bytes, at + 6),
    sequence: readU32(bytes, at + 8),
    port: readU32(bytes, at + 12),
    at: at + headerBytes,
    end: at + length,
  };
}

/** The offset of the next message. */
export function nextMessage(header: MessageHeader): number {
  return (header.end + 3) & ~3;
}

/** Reads an NLMSG_ERROR or NLMSG_DONE message. Throws DecodeError. */
export function readAck(bytes: Uint8Array, header: MessageHeader): Ack {
  const { at, end, type, flags } = header;
  // A dump may end without saying how.
  if (type === NLMSG_DONE && end - at < 4) return { errno: 0 };
  if (end - at < 4) throw new DecodeError(`nlmsgerr: has ${end - at} bytes, less than 4`);
  const errno = 0 - (readU32(bytes, at) | 0);
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno };
  const said = ackAttributes.read(bytes, at + 4 + repeatedBytes(bytes, header), end).NLMSGERR_ATTR_MSG;
  return said === undefined || said === "" ? { errno } : { errno, extack: said };
}

/** Between the number and the attributes of an error stands the request: its header, or all of it. */
function repeatedBytes(bytes: Uint8Array, { at, end, type, flags }: MessageHeader): number {
  if (type === NLMSG_DONE) return 0;
  if (end - at < 4 + headerBytes) throw new DecodeError(`nlmsgerr: has ${end - at} bytes, less than 20`);
  const length = (flags & NLM_F_CAPPED) !== 0 ? headerBytes : (readU32(bytes, at + 4) + 3) & ~3;
  return Math.min(Math.max(length, headerBytes), end - at - 4);
}
