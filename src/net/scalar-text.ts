// Turns a value of parsed JSON into text, to be parsed further or shown.

/** Returns the text of a text or number. String() throws for an object whose toString is no function, such as {"toString": 1}. */
export function scalarText(json: unknown): string {
  if (typeof json === "object" && json !== null) return Array.isArray(json) ? "a list" : "an object";
  return String(json);
}
