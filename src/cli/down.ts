// `down`: everything that was made on this host goes, and nothing else. Keys,
// peers and settings stay in the store, so that `up` brings the same node back.
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
    store.setGated(false);
    // Read again: the agent may have exchanged a key since.
    store.putIdentity({ ...(store.identity() ?? identity), up: false });
  });
  const report = session.sync();
  const how = report.failures.length === 0 ? "down" : "not wholly down";
  return reportSync(report, `Node ${identity.name} is ${how}`);
}
