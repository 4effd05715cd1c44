// What the gate decided, as log lines: one a change. Many at once (a restart,
// a partition) become one line, so that the log stays readable.
import { hostPrefix } from "../net/prefix.ts";
import type { GateEvent } from "../plan/peers/gate-state.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import { renderStep } from "../plan/step.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";
import type { Level, Log } from "../telemetry/log.ts";
import type { PeerEvent } from "./gate.ts";

/** More than this of one kind at one look are counted instead of listed. */
const maxLines = 10;

export function logGateEvents(log: Log, all: readonly PeerEvent[]): void {
  for (const [kind, group] of Map.groupBy(all, ({ event }) => event.kind)) {
    if (group.length > maxLines) log.info(`${describeMany(kind)} (${group.length} peers)`);
    else for (const { peer, event } of group) logOne(log, peer, event);
  }
}

export function logLapses(log: Log, lapses: readonly Lapse[]): void {
  for (const { owner, claimant, claim } of lapses)
    log.warn("a claim has passed to the peer that is there now: its owner has had no session for 180 s", {
      ...{ claim, from: owner, peer: claimant },
    });
}

function logOne(log: Log, peer: string, event: GateEvent): void {
  const { level, text } = describe(event);
  const { kind: _, ...fields } = event;
  log[level](text, { peer, ...fields });
}

function describe(event: GateEvent): { level: Level; text: string } {
  switch (event.kind) {
    case "opened":
      return { level: "info", text: "a handshake succeeded: traffic to the peer is encrypted from now on" };
    case "moved":
      return {
        level: event.why === "drained" ? "info" : "warn",
        text: "traffic to the peer moved to another slot",
      };
    case "closed":
      if (event.why === "off") return { level: "info", text: "the mode is off: the peer is not encrypted" };
      return { level: "warn", text: "the peer's own record says that it has no key: it is not encrypted" };
    case "candidate":
      return { level: "debug", text: "no handshake yet: the peer's next endpoint is tried" };
    case "silent":
      // A peer that is down for days is said once, not every minute.
      return {
        level: event.round === 1 ? "warn" : "debug",
        text: `nothing comes back from the peer: ${remedies[event.step]}`,
      };
    case "answers":
      return { level: "info", text: "the peer answers again" };
  }
}

const remedies = {
  "re-pin": "its endpoint is set as its record says",
  "re-add": "it is taken off the device and put on again",
  "other-slot": "the other slot is tried",
};

function describeMany(kind: GateEvent["kind"]): string {
  switch (kind) {
    case "opened":
      return "handshakes succeeded: traffic is encrypted from now on";
    case "moved":
      return "traffic moved to another slot";
    case "closed":
      return "records say that their nodes have no key, or the mode is off: they are not encrypted";
    case "candidate":
      return "no handshake yet: the next endpoints are tried";
    case "silent":
      return "nothing comes back: what can be repaired is tried";
    case "answers":
      return "peers answer again";
  }
}

/** What a sync began with, as a command: enough to recognise by, in a line. */
export function firstCommand({ steps }: SyncReport): string | undefined {
  return steps.flatMap(renderStep)[0];
}

/** True where it did only what the ADD or DEL of a pod was about to do: they come and go all day. */
export function isAboutPods({ steps, settings }: SyncReport): boolean {
  return steps.every((step) => {
    if (!("route" in step)) return false;
    const { table, type, dst } = step.route;
    return table === settings.podTable && type === "throw" && isHost(dst);
  });
}

function isHost(prefix: string): boolean {
  const slash = prefix.indexOf("/");
  return hostPrefix(prefix.slice(0, slash)) === prefix;
}
