// Defines ParseError, and helpers that handle an expected error and describe any error.

/** Text or bytes are not the value that they should be: an address, a prefix, a key. Its message is a whole sentence with the offending text, so that callers add only the place of the text. */
export class ParseError extends Error {
  override readonly name = "ParseError";
}

/** Returns what the action returns, or what `handle` makes of an error of the expected class. Throws every other error. */
export function attempt<T, E extends Error, R>(
  expected: abstract new (...parameters: never[]) => E,
  action: () => T,
  handle: (error: E) => R,
): T | R {
  try {
    return action();
  } catch (error) {
    if (error instanceof expected) return handle(error);
    throw error;
  }
}

/** Adds the place of the text, such as a key of a record, to a ParseError. */
export function parseAt<T>(place: string, parse: () => T): T {
  return attempt(ParseError, parse, (error) => {
    throw new ParseError(`${place}: ${error.message}`, { cause: error });
  });
}

/** Returns the message of what was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
