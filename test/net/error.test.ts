// An expected error is handled, and every other one is thrown.
import { expect, test } from "bun:test";
import { attempt, messageOf, ParseError, parseAt } from "../../src/net/error.ts";

class SpecialError extends ParseError {}

function throwing(error: unknown): () => number {
  return () => {
    throw error;
  };
}

test("attempt returns what the action returns, and handles only errors of the expected class", () => {
  const message = ({ message }: Error) => message;
  expect(attempt(ParseError, () => 1, message)).toBe(1);
  expect(attempt(ParseError, throwing(new ParseError("no key")), message)).toBe("no key");
  expect(attempt(ParseError, throwing(new SpecialError("no key")), message)).toBe("no key");
  const other = new RangeError("too long");
  expect(() => attempt(ParseError, throwing(other), message)).toThrow(other);
  expect(() => attempt(Error, throwing("text"), message)).toThrow("text");
});

test("parseAt adds the place to a ParseError, keeps its cause, and leaves every other error alone", () => {
  const cause = new ParseError("no key");
  expect(parseAt("record", () => 1)).toBe(1);
  expect(() => parseAt("record.slots[0]", throwing(cause))).toThrow(
    expect.objectContaining({ name: "ParseError", message: "record.slots[0]: no key", cause }),
  );
  const other = new RangeError("too long");
  expect(() => parseAt("record", throwing(other))).toThrow(other);
});

test.each([
  [new Error("full"), "full"],
  ["full", "full"],
  [undefined, "undefined"],
])("messageOf(%p)", (error, message) => {
  expect(messageOf(error)).toBe(message);
});
