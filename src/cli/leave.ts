// With `agent --leave` the node leaves the mesh while its agent runs, so that the agent publishes
// it to the peers. The agent stays running afterwards, for a service or a pod that is to be there
// until all nodes have left.
import type { Agent } from "../agent/loop.ts";
import { messageOf } from "../net/error.ts";
import { NotUpError } from "../reconcile/sync.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { Context } from "./command.ts";
import { down } from "./down.ts";
import { makeStyle } from "./style.ts";

const retryMs = 5000;
/** The agent does not wait longer for the API: then packets of peers are lost until they have read the new record. */
const publishMs = 30_000;
const pollMs = 50;

export class Leaving {
  /** The reason why the node is not ready; undefined when it has left. */
  problem: string | undefined = "This node is leaving the mesh.";

  /** Resolves when the node has left. Repeats attempts that fail. */
  async leave(context: Context, agent: Agent, log: Log): Promise<void> {
    for (;;) {
      this.problem = await leaveOnce(context, agent, log);
      if (this.problem === undefined) break;
      await Bun.sleep(retryMs);
    }
    log.info("this node has left the mesh; nothing of it is in the kernel any more");
  }
}

/** Returns why the node could not leave. */
async function leaveOnce(context: Context, agent: Agent, log: Log): Promise<string | undefined> {
  const say = { ...context, stderr: (text: string) => log.info(text.trim()) };
  try {
    // The record source has this node's record, so the withdrawal can be published.
    const deadlineMs = performance.now() + publishMs;
    while (!agent.isPublished && performance.now() < deadlineMs) await Bun.sleep(pollMs);
    const { exitCode, text } = await down(say, true);
    return exitCode === 0 ? undefined : text(makeStyle(false));
  } catch (error) {
    // The node was never up.
    if (error instanceof NotUpError) return undefined;
    return messageOf(error);
  }
}

/** A node that has left by `--leave` is in the mesh again; one that was taken down by hand stays down. */
export function rejoin(store: Store): void {
  store.transaction(() => {
    const identity = store.identity();
    if (identity === undefined || identity.up || identity.leaving === undefined) return;
    const { leaving: _, ...own } = identity;
    store.putIdentity({ ...own, up: true });
  });
}
