// Evaluates the part of PromQL that the alert rules use, on samples of one moment. A counter's sample is what it
// has grown by in the range.
export type Samples = Readonly<Record<string, number>>;

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}
type Vector = readonly Sample[];
/** A number is a scalar. */
type Value = Vector | number;

const tokenPattern = /\s*(\d+(?:\.\d+)?|\w+(?:\{[^}]*\})?(?:\[\w+\])?|[<>=!]=|[-+*<>(),])/y;
/** The operators that bind least come first. */
const levels: readonly (readonly string[])[] = [
  ["or"],
  ["and", "unless"],
  ["==", "!=", ">", "<", ">=", "<="],
  ["+", "-"],
  ["*"],
];

/** The series for which the expression holds at `nowS`, Unix seconds. Throws Error for what it does not know. */
export function evaluate(expression: string, samples: Samples, nowS: number): Vector {
  const reader = new Reader(expression);
  const value = binary(reader, 0, { samples, nowS });
  if (reader.peek !== undefined) throw new Error(`unexpected ${reader.peek}`);
  if (typeof value === "number") throw new Error("a scalar");
  return value;
}

interface Context {
  readonly samples: Samples;
  readonly nowS: number;
}

class Reader {
  readonly #tokens: string[] = [];

  constructor(text: string) {
    tokenPattern.lastIndex = 0;
    const trimmed = text.trim();
    while (tokenPattern.lastIndex < trimmed.length) {
      const at = tokenPattern.lastIndex;
      const token = tokenPattern.exec(trimmed)?.[1];
      if (token === undefined) throw new Error(`cannot read ${trimmed.slice(at)}`);
      this.#tokens.push(token);
    }
  }

  get peek(): string | undefined {
    return this.#tokens[0];
  }

  next(): string {
    return this.#tokens.shift() ?? "";
  }

  expect(token: string): void {
    const found = this.next();
    if (found !== token) throw new Error(`${found} in place of ${token}`);
  }

  /** The names in parentheses after `word`; undefined without it. */
  names(word: string): string[] | undefined {
    if (this.peek !== word) return undefined;
    this.next();
    this.expect("(");
    const names: string[] = [];
    for (let token = this.next(); token !== ")"; token = this.next()) if (token !== ",") names.push(token);
    return names;
  }
}

function binary(reader: Reader, level: number, context: Context): Value {
  const operators = levels[level];
  if (operators === undefined) return primary(reader, context);
  let left = binary(reader, level + 1, context);
  while (operators.includes(reader.peek ?? "")) {
    const operator = reader.next();
    const on = reader.names("on");
    reader.names("group_left");
    left = combine(operator, left, binary(reader, level + 1, context), on);
  }
  return left;
}

function primary(reader: Reader, context: Context): Value {
  const token = reader.next();
  if (token === "(") {
    const value = binary(reader, 0, context);
    reader.expect(")");
    return value;
  }
  if (/^\d/.test(token)) return Number(token);
  if (token === "time") {
    reader.expect("(");
    reader.expect(")");
    return context.nowS;
  }
  if (token === "sum" || token === "max") return aggregate(token, reader.names("by") ?? [], reader, context);
  if (token === "increase" || token === "rate") return primary(reader, context);
  return select(token, context.samples);
}

function aggregate(name: "sum" | "max", by: readonly string[], reader: Reader, context: Context): Vector {
  const groups = Map.groupBy(primary(reader, context) as Vector, ({ labels }) => keyOf(labels, by));
  return [...groups.values()].map((group) => {
    const values = group.map(({ value }) => value);
    const labels = Object.fromEntries(by.map((label) => [label, group[0]?.labels[label] ?? ""]));
    return {
      labels,
      value: name === "max" ? Math.max(...values) : values.reduce((sum, one) => sum + one, 0),
    };
  });
}

function select(token: string, samples: Samples): Vector {
  const [, name = "", matchers = ""] = /^(\w+)(?:\{(.*)\})?(?:\[\w+\])?$/.exec(token) ?? [];
  return Object.entries(samples).flatMap(([series, value]) => {
    const [, metric, text = ""] = /^(\w+)(?:\{(.*)\})?$/.exec(series) ?? [];
    const labels = Object.fromEntries(
      [...text.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, of]) => [label, of]),
    );
    const isMatched = [...matchers.matchAll(/(\w+)(=~|!=|=)"([^"]*)"/g)].every(
      ([, label = "", how, wanted = ""]) => {
        const found = labels[label] ?? "";
        if (how === "=~") return new RegExp(`^(?:${wanted})$`).test(found);
        return how === "=" ? found === wanted : found !== wanted;
      },
    );
    return metric === name && isMatched ? [{ labels: labels as Record<string, string>, value }] : [];
  });
}

/** The labels that are compared: those named, or all. */
function keyOf(labels: Sample["labels"], on: readonly string[] | undefined): string {
  return JSON.stringify((on ?? Object.keys(labels).sort()).map((label) => [label, labels[label] ?? ""]));
}

function combine(operator: string, left: Value, right: Value, on: readonly string[] | undefined): Value {
  if (typeof left !== "number" && typeof right !== "number") return combineVectors(operator, left, right, on);
  if (typeof left !== "number") return applyEach(left, (value) => apply(operator, value, right as number));
  if (typeof right !== "number") return applyEach(right, (value) => apply(operator, left, value));
  return apply(operator, left, right) as number;
}

function combineVectors(
  operator: string,
  left: Vector,
  right: Vector,
  on: readonly string[] | undefined,
): Vector {
  const others = new Map(right.map((sample) => [keyOf(sample.labels, on), sample.value]));
  const isIn = ({ labels }: Sample) => others.has(keyOf(labels, on));
  if (operator === "and") return left.filter(isIn);
  if (operator === "unless") return left.filter((sample) => !isIn(sample));
  if (operator === "or") {
    const known = new Set(left.map(({ labels }) => keyOf(labels, on)));
    return [...left, ...right.filter(({ labels }) => !known.has(keyOf(labels, on)))];
  }
  return left.flatMap((sample) => {
    const other = others.get(keyOf(sample.labels, on));
    const value = other === undefined ? undefined : apply(operator, sample.value, other);
    return value === undefined ? [] : [{ ...sample, value }];
  });
}

function applyEach(vector: Vector, change: (value: number) => number | undefined): Vector {
  return vector.flatMap((sample) => {
    const value = change(sample.value);
    return value === undefined ? [] : [{ ...sample, value }];
  });
}

/** A comparison keeps the left value, or drops the sample. */
function apply(operator: string, left: number, right: number): number | undefined {
  const compared = { "==": left === right, "!=": left !== right, ">": left > right, "<": left < right };
  const computed = { "+": left + right, "-": left - right, "*": left * right };
  if (operator in computed) return computed[operator as keyof typeof computed];
  if (operator in compared) return compared[operator as keyof typeof compared] ? left : undefined;
  throw new Error(`the operator ${operator} is unknown`);
}
