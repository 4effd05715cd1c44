// The functions read values out of parsed JSON, and their errors have the path of the wrong value. As
// in the reference library, null and an absent key are the same: Go programs write empty lists as
// null.
import { ParseError } from "../net/error.ts";

export interface JsonObject {
  readonly [key: string]: unknown;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads an object; absent and null give an empty one. */
export function readObject(value: unknown, path: string): JsonObject {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw wrongType(path, "an object", value);
  return value;
}

/** Reads a list; absent and null give an empty one. */
export function readList(value: unknown, path: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw wrongType(path, "a list", value);
  return value;
}

/** Reads a string; returns undefined if it is absent, null or empty (Go writes unset addresses as ""). */
export function findString(value: unknown, path: string): string | undefined {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value !== "string") throw wrongType(path, "a string", value);
  return value;
}

/** Reads a string that has to be present. */
export function getString(value: unknown, path: string): string {
  const text = findString(value, path);
  if (text === undefined) throw new ParseError(`${path} is missing`);
  return text;
}

/** Reads a list of strings; returns undefined if it is absent, null or empty. */
export function findStrings(value: unknown, path: string): string[] | undefined {
  if (value === undefined || value === null) return undefined;
  const list = readList(value, path);
  return list.length === 0 ? undefined : list.map((entry, i) => getString(entry, `${path}[${i}]`));
}

/** Reads a whole number within bounds; returns undefined if it is absent. */
export function findInteger(value: unknown, path: string, min: number, max: number): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number") throw wrongType(path, "a number", value);
  if (!Number.isInteger(value) || value < min || value > max)
    throw new ParseError(`${path}: expected a whole number from ${min} to ${max}, not ${value}`);
  return value;
}

export function wrongType(path: string, expected: string, value: unknown): ParseError {
  return new ParseError(`${path}: expected ${expected}, not ${describe(value)}`);
}

const describedCharacters = 60;

function describe(value: unknown): string {
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > describedCharacters ? `${text.slice(0, describedCharacters)}…` : text;
}
