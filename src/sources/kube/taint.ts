// Removes the start-up taint from this node's Node once the node is ready, so that pods are scheduled
// here. It sends one request at a time. A failure is logged once and retried, because the node stays
// empty until the taint is removed.
import { formatTaintRemoval, startupTaint } from "../../kube/node.ts";
import { type RetryTiming, retryDelayMs } from "../../kube/watch.ts";
import type { KubeClient } from "../../kubeclient/client.ts";
import type { Log } from "../../telemetry/log.ts";

export interface TaintRemoverOptions {
  readonly client: KubeClient;
  readonly log: Log;
  /** Is called with the Node without the taint, because the watch may deliver it later than the next pass. */
  readonly onRemoved: (node: unknown) => void;
  readonly retries: RetryTiming;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly random: () => number;
}

export class TaintRemover implements Disposable {
  readonly #ended = new AbortController();
  #isWriting = false;
  #failures = 0;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #lastReason = "";

  constructor(private readonly options: TaintRemoverOptions) {}

  [Symbol.dispose](): void {
    this.#ended.abort(new Error("the remover of the start-up taint was ended"));
  }

  /** `path`: of the Node; `taints`: all that it has. Returns at once. */
  remove(path: string, taints: readonly unknown[]): void {
    if (!this.#isWriting && this.options.now() >= this.#restUntilMs) void this.#write(path, taints);
  }

  async #write(path: string, taints: readonly unknown[]): Promise<void> {
    const { client, log, now, random, retries, onRemoved } = this.options;
    this.#isWriting = true;
    try {
      onRemoved(await client.patch(path, formatTaintRemoval(taints), this.#ended.signal));
      this.#failures = 0;
      log.info("this node is ready: pods may be scheduled here", { taint: startupTaint });
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      this.#reportOnChange(error instanceof Error ? error.message : String(error));
      this.#restUntilMs = now() + retryDelayMs(++this.#failures, random(), 0, retries);
    } finally {
      this.#isWriting = false;
    }
  }

  #reportOnChange(reason: string): void {
    if (reason === this.#lastReason) return;
    this.#lastReason = reason;
    this.options.log.warn(
      `The start-up taint ${startupTaint} stays on this node, so no pods are scheduled: ${reason.replace(/[.\s]*$/, "")}. Are role and policy there (conf/kubernetes/startup-taint.yaml)? \`kubectl taint node NAME ${startupTaint}-\` takes it off.`,
    );
  }
}
