// Removes the start-up taint from this node's Node once the node is ready, so that pods are scheduled
// here. It sends one request at a time. A failure is logged once and retried, because the node stays
// empty until the taint is removed.
import { formatTaintRemoval, startupTaint } from "../../kube/node-object.ts";
import type { KubeClient } from "../../kubeclient/client.ts";
import { Backoff, type BackoffBounds } from "../../net/backoff.ts";
import { messageOf } from "../../net/error.ts";
import { withoutFullStop } from "../../net/human-format.ts";
import type { Log } from "../../telemetry/log.ts";
import { type Problem, ProblemLog } from "../../telemetry/problem-log.ts";

export interface TaintRemoverOptions {
  readonly client: KubeClient;
  readonly log: Log;
  /** Is called with the Node without the taint, because the watch may deliver it later than the next pass. */
  readonly onRemoved: (node: unknown) => void;
  readonly retries: BackoffBounds;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly random: () => number;
}

export class TaintRemover implements Disposable {
  readonly #ended = new AbortController();
  #isWriting = false;
  readonly #backoff: Backoff;
  readonly #problems: ProblemLog;

  constructor(private readonly options: TaintRemoverOptions) {
    this.#backoff = new Backoff(options.retries, options.random);
    this.#problems = new ProblemLog(options.log);
  }

  [Symbol.dispose](): void {
    this.#ended.abort(new Error("the remover of the start-up taint was ended"));
  }

  /** `path`: of the Node; `taints`: all that it has. Returns at once. */
  remove(path: string, taints: readonly unknown[]): void {
    if (!this.#isWriting && this.#backoff.waitMs(this.options.now()) === 0) void this.#write(path, taints);
  }

  async #write(path: string, taints: readonly unknown[]): Promise<void> {
    const { client, log, now, onRemoved } = this.options;
    this.#isWriting = true;
    try {
      onRemoved(await client.patch(path, formatTaintRemoval(taints), this.#ended.signal));
      this.#backoff.reset();
      this.#problems.reportOnChange("taint", undefined);
      log.info("this node is ready: pods may be scheduled here", { taint: startupTaint });
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      this.#backoff.fail(now());
      this.#problems.reportOnChange("taint", explain(messageOf(error)));
    } finally {
      this.#isWriting = false;
    }
  }
}

function explain(reason: string): Problem {
  const name = `The start-up taint ${startupTaint} stays on this node`;
  return {
    message: `${name}, so no pods are scheduled: ${withoutFullStop(reason)}. Are role and policy there (conf/kubernetes/startup-taint.yaml)? \`kubectl taint node NAME ${startupTaint}-\` takes it off.`,
    name,
  };
}
