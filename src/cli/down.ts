// `down`: everything that was made on this host goes, and nothing else. Keys,
// peers and settings stay in the store, so that `up` brings the same node back.
import { validMarkSysctl } from "../plan/mesh.ts";
import { readSysctl } from "../reconcile/apply.ts";
import type { Session } from "../reconcile/session.ts";
import { NotUpError } from "../reconcile/sync.ts";
import type { Context, Output } from "./command.ts";
import { openSession, reportSync } from "./session.ts";

export function down(context: Context): Output {
  using session = openSession(context);
  const { store } = session;
  const identity = store.identity();
  if (identity === undefined) throw new NotUpError("This node was never up: there is nothing to remove.");
  store.transaction(() => {
    // An `up` that was killed has noted nothing, and may have left something.
    if (identity.up && store.programmed() === undefined)
      store.setProgrammed({ generation: 0, bootId: session.bootId });
    store.putIdentity({ ...identity, up: false });
  });
  const report = session.sync();
  if (report.failures.length > 0) return reportSync(report, `Node ${identity.name} is not wholly down`);
  restoreSysctls(session);
  return reportSync(report, `Node ${identity.name} is down`);
}

/**
 * Puts back what is still as we set it; a value that somebody changed since is
 * theirs. Pods that we are the main plugin of need forwarding until they end.
 */
function restoreSysctls({ store, kernel }: Session): void {
  const servesPods = store.attachments().some(({ role }) => role === "standalone");
  for (const { path, before } of store.savedSysctls()) {
    if (servesPods && path !== validMarkSysctl) continue;
    if (readSysctl(path) === "1") kernel.writeSysctl(path, before);
    store.forgetSysctl(path);
  }
}
