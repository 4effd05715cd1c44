// Releases pods that ended without a DEL, now and then, and says so: a line each, or
// one for many. What is known of them is kept in memory only, so that an agent that
// starts begins anew.
import { planOrphaned } from "../plan/pods/orphaned.ts";
import { readSettings } from "../reconcile/node.ts";
import {
  type ObservedAttachment,
  observeAttachments,
  type ReleaseContext,
  releaseAttachment,
} from "../reconcile/orphaned.ts";
import type { Attachment } from "../state/model.ts";
import type { Log } from "../telemetry/log.ts";

/** A look at a node's pods takes a millisecond; it is not needed more often. */
const spacingMs = 60_000;
/** More than these at once are one line. */
const maxLogLines = 10;

export interface AbandonedOptions {
  readonly log: Log;
  readonly onRelease: (pods: number) => void;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

export class AbandonedPods {
  #goneSinceMs: ReadonlyMap<string, number> = new Map();
  #nextMs = Number.NEGATIVE_INFINITY;
  #doubt: string | undefined;
  /** By key, why one is kept. */
  #kept = new Map<string, string>();

  constructor(private readonly options: AbandonedOptions) {}

  /** Call it at every look. Throws StoreError, NetlinkError. */
  look({ store, kernel }: Omit<ReleaseContext, "settings">): void {
    const scene = { store, kernel, settings: readSettings(store) };
    const waitMs = scene.settings.releaseAfter * 1000;
    const nowMs = this.options.now();
    if (waitMs === 0) this.#goneSinceMs = new Map();
    if (waitMs === 0 || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + Math.min(spacingMs, waitMs / 5);
    const seen = observeAttachments(store);
    const plan = planOrphaned({ seen, goneSinceMs: this.#goneSinceMs, waitMs, nowMs });
    this.#goneSinceMs = plan.goneSinceMs;
    if (plan.doubt !== undefined && plan.doubt !== this.#doubt) this.options.log.warn(plan.doubt);
    this.#doubt = plan.doubt;
    this.#release(
      scene,
      seen.filter(({ key }) => plan.release.includes(key)),
    );
  }

  #release(scene: ReleaseContext, due: readonly ObservedAttachment[]): void {
    const kept = new Map<string, string>();
    const released: Attachment[] = [];
    for (const { key, attachment } of due) {
      const { isReleased, obstacle } = releaseAttachment(scene, attachment);
      if (isReleased) released.push(attachment);
      if (obstacle === undefined) continue;
      kept.set(key, obstacle);
      if (obstacle !== this.#kept.get(key)) this.#sayKept(attachment, obstacle);
    }
    this.#kept = kept;
    if (released.length === 0) return;
    this.options.onRelease(released.length);
    this.#sayReleased(released);
  }

  #sayReleased(released: readonly Attachment[]): void {
    const { log } = this.options;
    const what = "a pod was released: its network namespace is gone, and no DEL came";
    if (released.length > maxLogLines) log.info(`${what} (${released.length} pods)`);
    else
      for (const attachment of released) {
        const { ipam } = attachment;
        const left = ipam === undefined ? {} : { addressesStayWith: ipam };
        log.info(what, { ...describe(attachment), ...left });
      }
  }

  #sayKept(attachment: Attachment, reason: string): void {
    this.options.log.warn("a pod's network namespace is gone, no DEL came, and it is kept", {
      ...describe(attachment),
      reason,
    });
  }
}

function describe({ network, containerID, ifname, netns, ips }: Attachment) {
  return { network, container: containerID, ifname, netns, ips: ips.join(",") };
}
