// Sysctls of the host that we changed go back when the mesh is gone.
import {
  changesWith,
  isForForwarding,
  ourValue,
  restoreOrder,
  type Saved,
} from "../plan/host/host-changes.ts";
import { reservedPortsSysctl, withoutPorts } from "../plan/host/reserved-ports.ts";
import type { Store } from "../state/store.ts";
import { readSysctl } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import { readSettings } from "./node-reader.ts";

/**
 * Restores what is still as we set it; a value that another program changed since is
 * theirs. Pods that we are the main plugin of need forwarding until they end.
 * Throws SysError, StoreError.
 */
export function restoreSysctls(store: Store, kernel: Kernel): void {
  const servesPods = store.attachments().some(({ role }) => role === "standalone");
  const saved = store.savedSysctls().filter(({ path }) => !servesPods || !isForForwarding(path));
  const seen = new Map(saved.map(({ path }) => [path, readSysctl(path)]));
  for (const { path, before } of restoreOrder(saved)) {
    const value = wasTakenBack(path, seen) ? undefined : seen.get(path);
    // Values that the kernel changed along when forwarding ended are compared with what they were until then.
    const isPorts = path === reservedPortsSysctl;
    const wanted = isPorts ? withoutOurs(store, value, before) : value === ourValue(path) ? before : value;
    if (wanted !== undefined && readSysctl(path) !== wanted) kernel.writeSysctl(path, `${wanted}\n`);
    store.forgetSysctl(path);
  }
}

/** Returns the value to restore. If other programs add to a list, only our entries are removed. */
function withoutOurs(store: Store, list: string | undefined, before: string): string | undefined {
  if (list === undefined) return undefined;
  const settings = readSettings(store);
  return withoutPorts(list, [settings.portA, settings.portB], before);
}

/** True if another program has switched off the setting that this one was changed along with: all of it belongs to that program since. */
function wasTakenBack(path: Saved["path"], seen: ReadonlyMap<string, string | undefined>): boolean {
  const cause = changesWith(path);
  return cause !== undefined && seen.has(cause) && seen.get(cause) !== ourValue(cause);
}
