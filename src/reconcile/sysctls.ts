// Sysctls of the whole node that we changed go back when the mesh is gone.
import { validMarkSysctl } from "../plan/mesh.ts";
import type { Store } from "../state/store.ts";
import { readSysctl } from "./apply.ts";
import type { Kernel } from "./kernel.ts";

/**
 * Puts back what is still as we set it; a value that somebody changed since is
 * theirs. Pods that we are the main plugin of need forwarding until they end.
 * Throws SysError, StoreError.
 */
export function restoreSysctls(store: Store, kernel: Kernel): void {
  const servesPods = store.attachments().some(({ role }) => role === "standalone");
  for (const { path, before } of store.savedSysctls()) {
    if (servesPods && path !== validMarkSysctl) continue;
    if (readSysctl(path) === "1") kernel.writeSysctl(path, before);
    store.forgetSysctl(path);
  }
}
