// Logs one line for each event of the gate. If many peers have an event of one kind in a pass, as after a
// restart or a partition, one line counts them, so that the log stays readable.
import type { GateEvent } from "../plan/peers/gate-state.ts";
import type { Level, Log } from "../telemetry/log.ts";
import type { PeerEvent } from "./gate.ts";

/** More events of one kind than this in one pass are counted instead of listed. */
const maxLines = 10;

export function logGateEvents(log: Log, all: readonly PeerEvent[]): void {
  for (const [kind, group] of Map.groupBy(all, ({ event }) => event.kind)) {
    if (group.length > maxLines) log.info(`${summaries[kind]} (${group.length} peers)`);
    else for (const { peer, event } of group) logEvent(log, peer, event);
  }
}

function logEvent(log: Log, peer: string, event: GateEvent): void {
  const { level, text } = describe(event);
  const { kind: _, ...fields } = event;
  log[level](text, { peer, ...fields });
}

function describe(event: GateEvent): { level: Level; text: string } {
  switch (event.kind) {
    case "opened":
      return { level: "info", text: "handshake succeeded, encrypting traffic to the peer" };
    case "moved":
      return { level: event.why === "drained" ? "info" : "warn", text: "moved traffic to another slot" };
    case "closed":
      if (event.why === "off") return { level: "info", text: "mode off, not encrypting traffic to the peer" };
      return { level: "warn", text: "peer's own record has no key, not encrypting traffic to the peer" };
    case "candidate":
      return { level: "debug", text: "no handshake yet, trying the peer's next endpoint" };
    case "silent":
      // Only the first round is a warning: a peer may be down for days.
      return { level: event.round === 1 ? "warn" : "debug", text: `peer silent, ${remedies[event.step]}` };
    case "answers":
      return { level: "info", text: "peer answers again" };
  }
}

const remedies = {
  "reset-endpoint": "resetting its endpoint",
  "re-add": "adding it to the device again",
  "other-slot": "trying the other slot",
};

/** By kind of event, if it is one of many. */
const summaries: Readonly<Record<GateEvent["kind"], string>> = {
  opened: "handshakes succeeded, encrypting traffic",
  moved: "moved traffic to another slot",
  closed: "records without a key or mode off, not encrypting traffic",
  candidate: "no handshakes yet, trying the next endpoints",
  silent: "peers silent, running recovery steps",
  answers: "peers answer again",
};
