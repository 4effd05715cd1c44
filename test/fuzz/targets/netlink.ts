// Everything that reads a netlink message goes over a buffer of them in the same way.
import { nextMessage, readHeader } from "../../../src/wire/nlmsg.ts";

/** Reads each message of the buffer. Throws DecodeError. */
export function readMessages<T>(
  bytes: Uint8Array,
  read: (type: number, bytes: Uint8Array, at: number, end: number) => T,
): T[] {
  const values: T[] = [];
  for (let at = 0; at < bytes.length; ) {
    const header = readHeader(bytes, at, bytes.length);
    values.push(read(header.type, bytes, header.at, header.end));
    at = nextMessage(header);
  }
  return values;
}
