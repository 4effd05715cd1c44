// Releases pods that ended without a DEL, and logs one line for each, or one for many. The waiting
// times are kept in memory only, so an agent that restarts begins to wait anew.
import type { Absences } from "../plan/absence.ts";
import { planOrphaned } from "../plan/pods/orphaned.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import {
  type ObservedAttachment,
  observeAttachments,
  type ReleaseContext,
  releaseAttachment,
} from "../reconcile/orphaned.ts";
import type { Attachment } from "../state/model.ts";
import type { Log } from "../telemetry/log.ts";
import { type LogLine, logOrCount } from "../telemetry/log-lines.ts";
import { type Problem, ProblemLog } from "../telemetry/problem-log.ts";

/** Checking the pods of a node takes a millisecond; it is not needed more often. */
const spacingMs = 60_000;
const releasedMessage = "pod released: its network namespace is gone, and no DEL came";

export interface OrphanedPodsOptions {
  readonly log: Log;
  readonly onRelease: (pods: number) => void;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

export class OrphanedPods {
  #absences: Absences = new Map();
  #nextMs = Number.NEGATIVE_INFINITY;
  readonly #problems: ProblemLog;

  constructor(private readonly options: OrphanedPodsOptions) {
    this.#problems = new ProblemLog(options.log);
  }

  /** Call it in every pass. Throws StoreError, NetlinkError. */
  reconcile({ store, kernel }: Omit<ReleaseContext, "settings">): void {
    const context = { store, kernel, settings: readSettings(store) };
    const waitMs = context.settings.releaseAfter * 1000;
    const nowMs = this.options.now();
    if (waitMs === 0) this.#absences = new Map();
    if (waitMs === 0 || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + Math.min(spacingMs, waitMs / 5);
    const seen = observeAttachments(store);
    const plan = planOrphaned({ seen, absences: this.#absences, waitMs, nowMs });
    this.#absences = plan.absences;
    this.#problems.reportOnChange("doubt", plan.doubt);
    this.#release(
      context,
      seen.filter(({ key }) => plan.release.includes(key)),
    );
  }

  #release(context: ReleaseContext, due: readonly ObservedAttachment[]): void {
    const kept = new Map<string, Problem>();
    const released: Attachment[] = [];
    for (const { key, attachment } of due) {
      const { isReleased, obstacle } = releaseAttachment(context, attachment);
      if (isReleased) released.push(attachment);
      if (obstacle !== undefined) kept.set(key, describeKept(attachment, obstacle));
    }
    this.#problems.reportAllOnChange("kept pods", kept);
    if (released.length > 0) this.options.onRelease(released.length);
    logOrCount(this.options.log, released.map(describeReleased), releasedMessage, "pods");
  }
}

function describeReleased(attachment: Attachment): LogLine {
  const fields = { ...describe(attachment), addressesStayWith: attachment.ipam };
  return { level: "info", message: releasedMessage, fields };
}

function describeKept(attachment: Attachment, reason: string): Problem {
  return {
    message: "pod kept: its network namespace is gone and no DEL came, but it cannot be released",
    fields: { ...describe(attachment), reason },
    name: "pod kept",
  };
}

function describe({ network, containerID, ifname, netns, ips }: Attachment) {
  return { network, container: containerID, ifname, netns, ips: ips.join(",") };
}
