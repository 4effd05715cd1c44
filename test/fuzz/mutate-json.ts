// Mutations of JSON: a part is replaced, removed, repeated, wrapped, or taken from another input. The result is JSON.
import type { Below } from "./mutate.ts";
import { mutateBytes } from "./mutate-bytes.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Values at the bounds of what readers take, and objects that no type of ours expects. */
const values: readonly Json[] = [
  ...[
    null,
    true,
    false,
    0,
    1,
    -1,
    0.5,
    1e300,
    2 ** 32,
    2 ** 53,
    65_536,
    "",
    " ",
    "0",
    "a/b",
    "..",
    "\0",
    "\u202e",
    "\ud800",
  ],
  ...[
    "10.0.0.0/8",
    "10.1.0.0/24",
    "10.1.0.1",
    "::/0",
    "fd00::/48",
    "fd00::1",
    "127.0.0.1",
    "::ffff:10.0.0.1",
    "1.2.3.4/33",
  ],
  ...[
    "eth0",
    "node-2",
    "1.1.0",
    "0.2.0",
    "wg-cni",
    "x".repeat(300),
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
  ],
  ...[[], {}, [[]], [null], { toString: 1 }, { toJSON: 1 }, { length: 3 }, { constructor: null }, { "": {} }],
];
const keys = [
  "toString",
  "__proto__",
  "constructor",
  "length",
  "name",
  "type",
  "cniVersion",
  "metadata",
  "spec",
  "ips",
];

export function mutateJson(input: Uint8Array, other: Uint8Array, below: Below): Uint8Array {
  let json = parse(input);
  if (json === undefined) return mutateBytes(input, other, below);
  const donor = parse(other) ?? null;
  for (let left = 1 + below(3); left > 0; left--) json = mutateAt(json, donor, below);
  return new TextEncoder().encode(JSON.stringify(json));
}

function parse(input: Uint8Array): Json | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(input)) as Json;
  } catch {
    return undefined;
  }
}

/** Goes down at random, and changes what is there. */
function mutateAt(json: Json, donor: Json, below: Below): Json {
  if (typeof json !== "object" || json === null || below(4) === 0) return changed(json, donor, below);
  if (Array.isArray(json)) return mutateList(json, donor, below);
  return mutateObject(json, donor, below);
}

function mutateList(list: Json[], donor: Json, below: Below): Json {
  const at = below(list.length + 1);
  if (at === list.length)
    return [...list, list.length > 0 ? (list[below(list.length)] as Json) : part(donor, below)];
  if (below(6) === 0) return list.toSpliced(at, 1);
  return list.with(at, mutateAt(list[at] as Json, donor, below));
}

function mutateObject(object: { [key: string]: Json }, donor: Json, below: Below): Json {
  const names = Object.keys(object);
  const name = names[below(names.length + 1)];
  const entries = Object.entries(object);
  if (name === undefined)
    return Object.fromEntries([...entries, [keys[below(keys.length)] as string, part(donor, below)]]);
  if (below(8) === 0) return Object.fromEntries(entries.filter(([key]) => key !== name));
  return Object.fromEntries(
    entries.map(([key, value]) => [key, key === name ? mutateAt(value, donor, below) : value]),
  );
}

function changed(json: Json, donor: Json, below: Below): Json {
  switch (below(8)) {
    case 0:
      return [json];
    case 1:
      return part(donor, below);
    case 2:
      return below(20) === 0 ? nested(json, 500) : nested(json, 3);
    case 3:
    case 4:
      if (typeof json === "string") return mutateText(json, below);
      if (typeof json === "number") return json + [-1, 1, 0.5, 2 ** 31, -2 * json][below(5)]!;
      return values[below(values.length)] as Json;
    default:
      return values[below(values.length)] as Json;
  }
}

function mutateText(text: string, below: Below): string {
  const bytes = new TextEncoder().encode(text);
  return new TextDecoder().decode(mutateBytes(bytes, bytes, below));
}

function nested(json: Json, depth: number): Json {
  let value = json;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

/** A part of another input. */
function part(json: Json, below: Below): Json {
  if (typeof json !== "object" || json === null || below(3) === 0) return json;
  const parts = Object.values(json);
  return parts.length === 0 ? json : part(parts[below(parts.length)] as Json, below);
}
