// The Markdown that the reference pages are made of.

/** Formats a table; its cells are Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.map(cell).join(" | ")} |`)
    .join("\n");
}

/** Escapes bars and line ends, which would end the cell. */
function cell(text: string): string {
  return text.replace(/\s*\n\s*/g, " ").replaceAll("|", "\\|");
}

export function code(text: string): string {
  return `\`${text}\``;
}

/**
 * Makes a sentence of a help text, which begins in lower case and has no full stop. A first word that is
 * a value or a name ("off: …", "wg-cni's …") stays as it is.
 */
export function sentence(text: string): string {
  const begin = /^[a-z]+ /.test(text) ? `${text.charAt(0).toUpperCase()}${text.slice(1)}` : text;
  return /[.!?]$/.test(begin) ? begin : `${begin}.`;
}

/** Joins blocks with an empty line between each two; empty blocks are left out. */
export function page(...blocks: readonly string[]): string {
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}
