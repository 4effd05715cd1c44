// Reads the Prometheus text format (version 0.0.4) back, strictly: what is not
// in the format's description is an error.

export interface Metric {
  readonly type: string;
  readonly help: string;
  /** Key: the sample's name and labels as printed. */
  readonly samples: Map<string, number>;
}

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** By metric. Throws if a line does not follow the format. */
export function parseExposition(text: string): Map<string, Metric> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const metrics = new Map<string, Metric>();
  let current: { name: string; metric: Metric } | undefined;
  let help = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const about = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (about?.[1] === "HELP") help = about[3]!;
    else if (about?.[1] === "TYPE") {
      const [, , name, type] = about as unknown as [string, string, string, string];
      if (metrics.has(name)) throw new Error(`${name} comes twice`);
      if (!["counter", "gauge", "histogram"].includes(type)) throw new Error(`type ${type}`);
      current = { name, metric: { type, help, samples: new Map() } };
      metrics.set(name, current.metric);
    } else addSample(line, current);
  }
  return metrics;
}

function addSample(line: string, current: { name: string; metric: Metric } | undefined): void {
  const at = line.lastIndexOf(" ");
  const [key, value] = [line.slice(0, at), Number(line.slice(at + 1))];
  const { name } = parseSample(key);
  const base = current?.metric.type === "histogram" ? name.replace(/_(bucket|sum|count)$/, "") : name;
  if (current === undefined || base !== current.name) throw new Error(`"${line}" is not below its TYPE`);
  if (Number.isNaN(value)) throw new Error(`"${line}" has no number`);
  if (current.metric.samples.has(key)) throw new Error(`"${key}" comes twice`);
  current.metric.samples.set(key, value);
}

/** A sample's name and labels. Throws if they do not follow the format. */
export function parseSample(key: string): Sample {
  const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?$/.exec(key);
  if (match === null) throw new Error(`"${key}" is no sample`);
  const labels: Record<string, string> = {};
  let rest = match[2] ?? "";
  while (rest !== "") {
    const pair = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/.exec(rest);
    if (pair === null) throw new Error(`labels "${rest}"`);
    labels[pair[1]!] = pair[2]!.replace(/\\(.)/g, (_, character) => (character === "n" ? "\n" : character));
    rest = rest.slice(pair[0].length);
  }
  return { name: match[1]!, labels };
}
