// The one function by which foreign text leaves the program: what it escapes, and that
// JSON stays the same value.
import { describe, expect, test } from "bun:test";
import { escapeControls, escapeLines, printable } from "../../src/net/printable.ts";

const cases: readonly (readonly [what: string, text: string, escaped: string])[] = [
  ["plain text", "node-1 Größe 日本 👋", "node-1 Größe 日本 👋"],
  ["an ANSI colour", "\x1b[31mred\x1b[0m", "\\u001b[31mred\\u001b[0m"],
  ["the title of a terminal", "\x1b]0;title\x07", "\\u001b]0;title\\u0007"],
  ["a C1 control sequence", "\x9b2J", "\\u009b2J"],
  ["NUL, backspace and DEL", "a\0b\bc\x7f", "a\\u0000b\\u0008c\\u007f"],
  ["line ends and tabs", "a\r\nb\tc", "a\\r\\nb\\tc"],
  ["other line ends", "a\u2028b\u2029c\x85d\x0be\x0cf", "a\\u2028b\\u2029c\\u0085d\\u000be\\u000cf"],
  [
    "bidirectional overrides",
    "\u202aa\u202bb\u202cc\u202dd\u202ee",
    "\\u202aa\\u202bb\\u202cc\\u202dd\\u202ee",
  ],
  ["bidirectional isolates", "\u2066a\u2067b\u2068c\u2069", "\\u2066a\\u2067b\\u2068c\\u2069"],
  ["marks without width", "\u200ba\u200eb\u061cc\ufeff", "\\u200ba\\u200eb\\u061cc\\ufeff"],
  ["tags beyond the first plane", "a\u{e0041}", "a\\udb40\\udc41"],
  ["half a surrogate pair", "a\ud800b", "a\\ud800b"],
];

describe("escapeControls", () => {
  test.each(cases)("%s", (_, text, escaped) => {
    expect(escapeControls(text)).toBe(escaped);
  });

  test("JSON stays the same value", () => {
    for (const [what, text] of cases) {
      const json = escapeControls(JSON.stringify({ text }));
      expect(JSON.parse(json), what).toEqual({ text });
      expect(json, what).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
    }
  });
});

test("escapeLines leaves ends of lines and tabs, and nothing else", () => {
  expect(escapeLines("a\n\tb\r\n\x1b[2J\u2028")).toBe("a\n\tb\\r\n\\u001b[2J\\u2028");
  expect(escapeLines('label="\x1b"', "\\\\")).toBe('label="\\\\u001b"');
});

test("printable cuts what is long, and says so", () => {
  expect(printable("\x1bshort", 6)).toBe("\\u001bshort");
  expect(printable("0123456789", 4)).toBe("0123… (and 6 more characters)");
});
