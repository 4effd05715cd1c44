// Where wg-cni is to be kept installed, as the settings say.
import { parseEntry } from "../plan/settings/entry.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Target } from "./install.ts";

/** Undefined where nobody wants it. */
export function findTarget({ installConfDir, installBinDir, installEntry }: Settings): Target | undefined {
  if (installConfDir === "") return undefined;
  const entry = installEntry === "" ? {} : { entry: parseEntry(installEntry) };
  return { binDir: installBinDir, confDir: installConfDir, ...entry };
}
