// The one error of this directory: text or bytes that are not the value they
// should be. Its message is a whole sentence that names the offending text, so
// that callers add only if the text stood (a key, a flag, a record).

/** A value that cannot be parsed: an address, a prefix, a key, a MAC. */
export class ParseError extends Error {
  override readonly name = "ParseError";
}
