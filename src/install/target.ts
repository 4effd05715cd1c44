// The settings say where the agent keeps wg-cni installed.
import { parseEntry } from "../plan/settings/entry.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Target } from "./install.ts";

/** Returns undefined if no directory is set. */
export function findTarget({ installConfDir, installBinDir, installEntry }: Settings): Target | undefined {
  if (installConfDir === "") return undefined;
  const entry = installEntry === "" ? {} : { entry: parseEntry(installEntry) };
  return { binDir: installBinDir, confDir: installConfDir, ...entry };
}
