// `agent --leave`: the node leaves the mesh while its agent runs, so that the
// others hear of it by whatever the agent publishes to. It stays afterwards, for a
// service or a pod that is to be there until all nodes have left.
import type { Agent } from "../agent/loop.ts";
import { messageOf } from "../net/error.ts";
import { NotUpError } from "../reconcile/sync.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { Context } from "./command.ts";
import { down } from "./down.ts";
import { makeStyle } from "./style.ts";

const retryMs = 5000;
/** An API that is not heard of by then is not waited for: then what the others send is lost until they hear. */
const publishMs = 30_000;
const pollMs = 50;

export class Leaving {
  /** What readiness waits for; undefined when the node has left. */
  problem: string | undefined = "This node is leaving the mesh.";

  /** Resolves when it has left. Tries again and again. */
  async leave(context: Context, agent: Agent, log: Log): Promise<void> {
    for (;;) {
      this.problem = await leaveOnce(context, agent, log);
      if (this.problem === undefined) break;
      await Bun.sleep(retryMs);
    }
    log.info("this node has left the mesh; nothing of it is in the kernel any more");
  }
}

/** Returns why it could not. */
async function leaveOnce(context: Context, agent: Agent, log: Log): Promise<string | undefined> {
  const say = { ...context, stderr: (text: string) => log.info(text.trim()) };
  try {
    // What is to be withdrawn is there, so the way there works.
    const deadlineMs = performance.now() + publishMs;
    while (!agent.isPublished && performance.now() < deadlineMs) await Bun.sleep(pollMs);
    const { exitCode, text } = await down(say, true);
    return exitCode === 0 ? undefined : text(makeStyle(false));
  } catch (error) {
    // Nobody was ever here.
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
