// The lists of known configuration keys allow a warning about unknown ones: a misspelled
// optional key is otherwise invisible. Unknown keys are never an error, because runtimes
// and tools add their own.
import { suggest } from "../net/suggest.ts";
import { ownType } from "./ipam.ts";
import { isObject, type JsonObject } from "./json.ts";

export const topKeys = [
  "cniVersion",
  "name",
  "type",
  "stateDir",
  "mtu",
  "ipam",
  "dns",
  "ipMasq",
  "args",
  "capabilities",
  "runtimeConfig",
  "prevResult",
  "disableCheck",
  "disableGC",
  "loadOnlyInlinedPlugins",
] as const;
export const ipamKeys = ["type", "ranges", "routes"] as const;
export const rangeKeys = ["subnet", "rangeStart", "rangeEnd", "gateway"] as const;
export const routeKeys = ["dst", "gw"] as const;
export const capabilityKeys = ["ips", "mac"] as const;

/** Returns one sentence for each key that has no meaning here. */
export function unknownKeys(json: JsonObject): string[] {
  const warnings = unknownIn(json, topKeys, "");
  warnings.push(...unknownIn(json.capabilities, capabilityKeys, "capabilities."));
  const { ipam } = json;
  if (!isObject(ipam) || (ipam.type ?? ownType) !== ownType) return warnings;
  warnings.push(...unknownIn(ipam, ipamKeys, "ipam."));
  for (const [i, route] of listOf(ipam.routes).entries())
    warnings.push(...unknownIn(route, routeKeys, `ipam.routes[${i}].`));
  for (const [i, set] of listOf(ipam.ranges).entries())
    for (const [j, range] of listOf(set).entries())
      warnings.push(...unknownIn(range, rangeKeys, `ipam.ranges[${i}][${j}].`));
  return warnings;
}

function unknownIn(value: unknown, known: readonly string[], path: string): string[] {
  const warnings: string[] = [];
  if (!isObject(value)) return warnings;
  for (const key of Object.keys(value)) {
    if (known.includes(key) || isNamespaced(key)) continue;
    const nearest = suggest(key, known);
    const hint = nearest === undefined ? "" : ` (did you mean "${nearest}"?)`;
    warnings.push(`Ignored the unknown key "${path}${key}"${hint}`);
  }
  return warnings;
}

/** A key with a slash, such as "cni.dev/attachments", belongs to the owner that is named before the slash. */
function isNamespaced(key: string): boolean {
  return key.includes("/");
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
