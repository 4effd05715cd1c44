// Mutations of netlink messages that keep lengths right: an attribute, at any depth, is removed, repeated, given
// another type or payload, or put into another one. Without that nearly every input ends at a wrong length.
import { readU16, readU32 } from "../../src/wire/codec.ts";
import type { Below } from "./mutate.ts";
import { mutateBytes, replaced } from "./mutate-bytes.ts";

const messageHeaderBytes = 16;
const attributeHeaderBytes = 4;

interface Span {
  readonly start: number;
  readonly end: number;
}

export function mutateNetlink(input: Uint8Array, other: Uint8Array, below: Below): Uint8Array {
  let bytes = input;
  for (let left = 1 + below(3); left > 0; left--) bytes = mutateMessages(bytes, other, below);
  return bytes;
}

/** The messages of a buffer, each from its header on. */
function messagesOf(bytes: Uint8Array): Span[] {
  const found: Span[] = [];
  for (let start = 0; start + messageHeaderBytes <= bytes.length; ) {
    const length = readU32(bytes, start);
    if (length < messageHeaderBytes || start + length > bytes.length) break;
    found.push({ start, end: start + length });
    start += aligned(length);
  }
  return found;
}

function mutateMessages(bytes: Uint8Array, other: Uint8Array, below: Below): Uint8Array {
  const messages = messagesOf(bytes);
  const chosen = messages[below(messages.length)];
  if (chosen === undefined) return mutateBytes(bytes, other, below);
  const message = bytes.slice(chosen.start, chosen.end);
  const after = Math.min(bytes.length, chosen.start + aligned(message.length));
  switch (below(12)) {
    case 0:
      return replaced(bytes, chosen.start, after, new Uint8Array(0));
    case 1: {
      const donors = messagesOf(other);
      const donor = donors[below(donors.length)];
      return donor === undefined
        ? bytes
        : replaced(bytes, after, after, padded(other.slice(donor.start, donor.end)));
    }
    case 2:
      message[4 + below(12)] = below(256);
      return replaced(bytes, chosen.start, after, padded(message));
    default:
      return replaced(bytes, chosen.start, after, padded(mutateMessage(message, other, below)));
  }
}

/** Headers of families have 4 to 16 bytes; the one behind which attributes fit is taken. */
function mutateMessage(message: Uint8Array, other: Uint8Array, below: Below): Uint8Array {
  const header =
    [4, 8, 12, 16].find((size) => attributesOf(message, messageHeaderBytes + size) !== undefined) ?? 4;
  const at = messageHeaderBytes + header;
  if (below(8) === 0 && at <= message.length) {
    message[messageHeaderBytes + below(header)] = below(4) === 0 ? below(256) : below(16);
    return message;
  }
  const body = mutateAttributes(message.slice(at), other, below, 4);
  const result = replaced(message, at, message.length, body);
  new DataView(result.buffer).setUint32(0, result.length, true);
  return result;
}

/** The attributes from `at` to the end; undefined if there are none or they do not fit. */
function attributesOf(bytes: Uint8Array, at: number): Span[] | undefined {
  const found: Span[] = [];
  for (let start = at; start + attributeHeaderBytes <= bytes.length; ) {
    const length = readU16(bytes, start);
    if (length < attributeHeaderBytes || start + length > bytes.length) return undefined;
    found.push({ start, end: start + length });
    start += aligned(length);
  }
  return found.length === 0 ? undefined : found;
}

function mutateAttributes(bytes: Uint8Array, other: Uint8Array, below: Below, depth: number): Uint8Array {
  const attributes = attributesOf(bytes, 0);
  if (attributes === undefined) return mutateBytes(bytes, other, below);
  const { start, end } = attributes[below(attributes.length)] as Span;
  const after = Math.min(bytes.length, start + aligned(end - start));
  const type = readU16(bytes, start + 2);
  const payload = bytes.slice(start + attributeHeaderBytes, end);
  const isNest = attributesOf(payload, 0) !== undefined;
  if (isNest && depth > 0 && below(3) > 0)
    return replaced(bytes, start, after, attribute(type, mutateAttributes(payload, other, below, depth - 1)));
  switch (below(7)) {
    case 0:
      return replaced(bytes, start, after, new Uint8Array(0));
    case 1:
      return replaced(bytes, after, after, attribute(type, payload));
    case 2:
      return replaced(bytes, start, after, attribute((type & 0x8000) | below(48), payload));
    case 3:
      return replaced(bytes, start, after, attribute(type, attribute(below(12), payload)));
    case 4:
      return replaced(bytes, start, after, attribute(type, payload.slice(0, below(payload.length + 1))));
    default:
      return replaced(bytes, start, after, attribute(type, mutateBytes(payload, other, below)));
  }
}

function attribute(type: number, payload: Uint8Array): Uint8Array {
  const kept = payload.subarray(0, 65_000);
  const bytes = new Uint8Array(aligned(attributeHeaderBytes + kept.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, attributeHeaderBytes + kept.length, true);
  view.setUint16(2, type, true);
  bytes.set(kept, attributeHeaderBytes);
  return bytes;
}

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(aligned(bytes.length));
  result.set(bytes);
  return result;
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}
