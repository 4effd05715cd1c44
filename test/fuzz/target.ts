// A target is one reader of bytes or text that others wrote. Its file says how an input is read, which errors explain
// a refused input, and which laws hold for an accepted one.

/** Decides which mutations make sense beside those of bytes. */
export type Form = "bytes" | "text" | "json" | "netlink";

export interface Target {
  readonly name: string;
  readonly form: Form;
  /** The names of the error classes that explain why an input is refused. */
  readonly refusals: readonly string[];
  /** Reads the input. What it returns tells inputs apart; it throws `LawBroken` if what was read is not what it must be. */
  run(input: Uint8Array): unknown;
}

/** The reader accepted an input, and what it made of it cannot be. */
export class LawBroken extends Error {
  override readonly name = "LawBroken";
}

export function hold(law: string, holds: boolean): void {
  if (!holds) throw new LawBroken(law);
}

export type Outcome =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "refusal"; readonly error: Error }
  | { readonly kind: "fault"; readonly error: unknown };

/** Runs the target once. */
export function execute(target: Target, input: Uint8Array): Outcome {
  try {
    return { kind: "value", value: target.run(input) };
  } catch (error) {
    const isExplained = error instanceof Error && target.refusals.includes(error.name);
    return isExplained ? { kind: "refusal", error } : { kind: "fault", error };
  }
}
