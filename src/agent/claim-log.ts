// Logs one line when a claim of a peer is refused and one when the refusal ends. The lines name the
// owner, so the cause stands beside the peer that is not reached.

import type { Lapse } from "../plan/peers/lapses.ts";
import type { Refusal } from "../plan/peers/model.ts";
import type { Log } from "../telemetry/log.ts";

/** More refusals than this at once are counted instead of listed: a record may claim thousands of things. */
const maxLines = 10;

export class RefusalLog {
  #known: ReadonlyMap<string, Refusal> = new Map();

  constructor(private readonly log: Log) {}

  /** `refusals`: all current refusals. */
  report(refusals: readonly Refusal[]): void {
    if (refusals.length === 0 && this.#known.size === 0) return;
    const now = new Map(refusals.map((refusal) => [keyOf(refusal), refusal]));
    const come = [...now].filter(([key]) => !this.#known.has(key)).map(([, refusal]) => refusal);
    const gone = [...this.#known].filter(([key]) => !now.has(key)).map(([, refusal]) => refusal);
    this.#known = now;
    const [pending, refused] = [come.filter(isPending), come.filter((refusal) => !isPending(refusal))];
    this.#log(refused, "warn", "claim of a peer refused");
    this.#log(pending, "info", "claim of a peer does not count yet");
    this.#log(gone, "info", "resolved: claim of a peer refused");
  }

  #log(refusals: readonly Refusal[], level: "warn" | "info", text: string): void {
    for (const { peer, claim, owner, reason } of refusals.slice(0, maxLines))
      this.log[level](text, { peer, claim, owner, reason });
    const more = refusals.length - maxLines;
    if (more > 0) this.log[level](`${text} (and ${more} more; \`wg-cni peer list\` has them all)`);
  }
}

function keyOf({ peer, claim, owner }: Refusal): string {
  return `${peer} ${claim} ${owner}`;
}

function isPending(refusal: Refusal): boolean {
  return refusal.isPending === true;
}

/** Logs the claims that have passed to another peer. */
export function logLapses(log: Log, lapses: readonly Lapse[]): void {
  for (const { owner, claimant, claim } of lapses)
    log.warn("claim passed to another peer, because its owner had no session for 180 s", {
      ...{ claim, from: owner, peer: claimant },
    });
}
