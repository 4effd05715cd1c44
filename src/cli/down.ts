// `down` removes everything that wg-cni made on this host, and nothing else. Keys, peers
// and settings stay in the store, so `up` brings the same node back. If records are
// published, this node first stops encrypting, then publishes that it has no key any more,
// and only then rejects encrypted packets.

import { isAnnounced, type Settings } from "../plan/settings/settings.ts";
import { readSettings, withdrawnRecord } from "../reconcile/node-reader.ts";
import type { Session } from "../reconcile/session.ts";
import { NotUpError } from "../reconcile/sync.ts";
import { publishRecord, RecordsError } from "../sources/directory/files.ts";
import type { Identity } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import type { Context, Output } from "./command.ts";
import { isAgentThere, openSession, reportSync, syncAll } from "./session.ts";

/** An agent accepts a changed record within a second, and moves its routes with it. */
const withdrawalMs = 3000;

/** `forNow`: the next agent without --leave brings the node back. */
export async function down(context: Context, forNow = false): Promise<Output> {
  using session = openSession(context);
  const { store } = session;
  const identity = store.identity();
  if (identity === undefined) throw new NotUpError("This node was never up: there is nothing to remove.");
  const warnings = identity.up ? await withdraw(session, identity, context) : [];
  store.transaction(() => {
    // An `up` that was killed has recorded nothing, and may have left objects in the kernel.
    if (identity.up && store.applied() === undefined)
      store.setApplied({ generation: 0, bootId: session.bootId });
    store.setGated(false);
    // The identity is read again, because the agent may have rotated a key since.
    const { leaving: _, ...own } = store.identity() ?? identity;
    store.putIdentity({ ...own, up: false, ...(forNow ? { leaving: true } : {}) });
  });
  const report = syncAll(session, {});
  const how = report.failures.length === 0 ? "down" : "not wholly down";
  return reportSync(report, `Node ${identity.name} is ${how}`, warnings);
}

/** Withdraws the keys and waits: until the peers send in plaintext, this node still accepts encrypted packets. */
async function withdraw(session: Session, identity: Identity, { stderr }: Context): Promise<string[]> {
  const { store } = session;
  const settings = readSettings(store);
  if (!isAnnounced(settings)) return [];
  // An agent of this node does the same, and publishes it.
  store.putIdentity({ ...identity, leaving: true });
  session.sync();
  const problem = publish(store, identity, settings);
  if (problem !== undefined) return [`the withdrawal of the keys could not be published: ${problem}`];
  stderr(`Publishing that this node has no key any more; waiting ${withdrawalMs / 1000} s\n`);
  await Bun.sleep(withdrawalMs);
  return [];
}

/** Returns why it could not be published. The agent writes to the API as soon as it sees that this node leaves. */
function publish(store: Store, identity: Identity, settings: Settings): string | undefined {
  try {
    if (settings.recordsDir !== "") publishRecord(settings.recordsDir, withdrawnRecord(identity, settings));
  } catch (error) {
    if (!(error instanceof RecordsError)) throw error;
    return error.message;
  }
  if (settings.kubeconfig === "" || isAgentThere(store.directory)) return undefined;
  return "no agent runs, which would write to the Kubernetes API.";
}
