// Parses CNI_ARGS, "KEY=VALUE;KEY=VALUE", the specification's older way to hand a plugin
// per-container values. It is as strict as the reference library's LoadArgs, except that the messages
// name the variable.
import { CniError } from "./error.ts";

/** wg-cni acts on these keys; every other key needs IgnoreUnknown. */
const knownKeys: readonly string[] = ["IgnoreUnknown", "IP", "MAC"];

/** Returns the pairs of CNI_ARGS. Throws CniError (4). */
export function parseArgs(text: string): ReadonlyMap<string, string> {
  const args = new Map<string, string>();
  if (text === "") return args;
  for (const pair of text.split(";")) {
    const equals = pair.indexOf("=");
    if (equals < 0 || pair.includes("=", equals + 1))
      throw new CniError(
        "invalidEnvironment",
        `CNI_ARGS: invalid pair "${pair}" (expected KEY=VALUE, joined by ";")`,
      );
    args.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  // Unknown keys are judged only now, because IgnoreUnknown may come last.
  if (ignoresUnknown(args.get("IgnoreUnknown"))) return args;
  const unknown = [...args.keys()].filter((key) => !knownKeys.includes(key));
  if (unknown.length > 0)
    throw new CniError(
      "invalidEnvironment",
      `CNI_ARGS: unknown keys ${unknown.map((key) => `"${key}"`).join(", ")} (add IgnoreUnknown=1 to have them ignored)`,
    );
  return args;
}

function ignoresUnknown(value: string | undefined): boolean {
  const lower = value?.toLowerCase();
  if (lower === "1" || lower === "true") return true;
  if (lower === undefined || lower === "0" || lower === "false") return false;
  throw new CniError("invalidEnvironment", `CNI_ARGS: IgnoreUnknown="${value}" is neither true nor false`);
}
