// Mutations of bytes whose form is not known.
import type { Below } from "./mutate.ts";

/** Bytes at the bounds of what numbers and characters mean. */
const special = [
  0, 1, 2, 4, 8, 9, 10, 13, 16, 32, 34, 44, 45, 46, 47, 48, 57, 58, 61, 91, 92, 93, 123, 125, 127, 128, 192,
  255,
];
const words = [
  "0",
  "-1",
  "1e999",
  "99999999999999999999",
  "::",
  "%",
  "\r\n",
  "\n\n",
  "null",
  '"',
  "\\u0000",
  "\u202e",
  "=",
  "errno=0\n",
];
const encoded = words.map((word) => new TextEncoder().encode(word));

export function mutateBytes(input: Uint8Array, other: Uint8Array, below: Below): Uint8Array {
  let bytes = input;
  for (let left = 1 + below(4); left > 0; left--) bytes = mutateOnce(bytes, other, below);
  return bytes;
}

function mutateOnce(bytes: Uint8Array, other: Uint8Array, below: Below): Uint8Array {
  const at = below(bytes.length + 1);
  const span = Math.min(bytes.length - at, 1 + below(below(4) === 0 ? 64 : 8));
  switch (below(8)) {
    case 0:
      return replaced(bytes, at, at + span, noBytes);
    case 1:
      return replaced(bytes, at, at, encoded[below(encoded.length)] as Uint8Array);
    case 2:
      return replaced(bytes, at, at, bytes.subarray(at, at + span));
    case 3: {
      const from = below(other.length + 1);
      return replaced(bytes, at, at + below(2) * span, other.subarray(from, from + 1 + below(64)));
    }
    case 4:
      return bytes.slice(0, at);
    default:
      return withByte(bytes, at, below);
  }
}

const noBytes = new Uint8Array(0);

function withByte(bytes: Uint8Array, at: number, below: Below): Uint8Array {
  if (bytes.length === 0) return Uint8Array.of(below(256));
  const copy = bytes.slice();
  const index = at % bytes.length;
  const old = copy[index] as number;
  const choices = [
    old ^ (1 << below(8)),
    below(256),
    special[below(special.length)] as number,
    old + 1,
    old - 1,
  ];
  copy[index] = choices[below(choices.length)] as number;
  return copy;
}

export function replaced(bytes: Uint8Array, start: number, end: number, by: Uint8Array): Uint8Array {
  const result = new Uint8Array(start + by.length + bytes.length - end);
  result.set(bytes.subarray(0, start));
  result.set(by, start);
  result.set(bytes.subarray(end), start + by.length);
  return result;
}
