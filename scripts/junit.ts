// Parses the report of `bun test --reporter=junit`: one case for each test. It understands only Bun's
// form, and no general XML.

export interface Case {
  readonly file: string;
  /** "group > test", as Bun prints it. */
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Message and stack of a failure. */
  readonly detail: string;
}

export function parseJunit(xml: string): Case[] {
  const cases: Case[] = [];
  for (const [, attributes, rest] of xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
    const body = rest ?? "";
    const outcome = body.includes("<failure") ? "failed" : body.includes("<skipped") ? "skipped" : "passed";
    const group = attribute(attributes!, "classname");
    const name = attribute(attributes!, "name");
    cases.push({
      file: attribute(attributes!, "file"),
      name: group === "" ? name : `${group} > ${name}`,
      outcome,
      detail: outcome === "failed" ? failureText(body) : "",
    });
  }
  return cases;
}

function failureText(body: string): string {
  const text = /<failure [^>]*>([\s\S]*?)<\/failure>/.exec(body)?.[1];
  return unescapeXml(text ?? attribute(body, "message")).trim();
}

function attribute(attributes: string, name: string): string {
  return unescapeXml(new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");
}

function unescapeXml(text: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(?:#(\d+)|(\w+));/g, (whole, code, name) =>
    code === undefined ? (named[name] ?? whole) : String.fromCodePoint(Number(code)),
  );
}
