// The call log: one line for every call of the plugin that changes or checks a
// pod, written by the plugin's processes and counted by the agent.
//
//   2026-11-21T01:02:03.456Z ADD ok 7.81
//   2026-11-21T01:02:04.012Z DEL 11 3.02
//
// Time, verb, "ok" or the CNI error's code, milliseconds. Text and values only.

/** The name of the file in the state directory. */
export const callLogName = "calls.log";

/** STATUS comes every few seconds and changes nothing; VERSION has no state directory. */
export const countedVerbs = ["ADD", "DEL", "CHECK", "GC"] as const;
export type CountedVerb = (typeof countedVerbs)[number];

export interface CallRecord {
  readonly verb: CountedVerb;
  /** The code of the CNI error; absent if all went well. */
  readonly errorCode?: number;
  readonly durationMs: number;
}

export function isCountedVerb(verb: string): verb is CountedVerb {
  return (countedVerbs as readonly string[]).includes(verb);
}

/** One line with its end; `time` is ISO 8601. */
export function formatCall(time: string, { verb, errorCode, durationMs }: CallRecord): string {
  return `${time} ${verb} ${errorCode ?? "ok"} ${durationMs.toFixed(2)}\n`;
}

/** A line without its end; undefined if it is none of ours. */
export function parseCall(line: string): CallRecord | undefined {
  const match = /^\S{1,40} (\w{1,10}) (ok|\d{1,10}) (\d{1,12}(?:\.\d{1,6})?)$/.exec(line);
  const [, verb = "", outcome, duration] = match ?? [];
  if (!isCountedVerb(verb)) return undefined;
  return {
    verb,
    ...(outcome === "ok" ? {} : { errorCode: Number(outcome) }),
    durationMs: Number(duration),
  };
}
