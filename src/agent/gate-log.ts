// Logs one line for each event of the gate. If many peers have an event of one kind in a pass, as after a
// restart or a partition, one line counts them, so that the log stays readable.
import type { GateEvent } from "../plan/peers/gate-state.ts";
import type { Level, Log } from "../telemetry/log.ts";
import { type LogLine, logOrCount } from "../telemetry/log-lines.ts";
import type { PeerEvent } from "./gate.ts";

export function logGateEvents(log: Log, all: readonly PeerEvent[]): void {
  for (const [kind, group] of Map.groupBy(all, ({ event }) => event.kind))
    logOrCount(log, group.map(lineOf), summaries[kind], "peers");
}

function lineOf({ peer, event }: PeerEvent): LogLine {
  const { kind: _, ...fields } = event;
  return { ...describe(event), fields: { peer, ...fields } };
}

function describe(event: GateEvent): { level: Level; message: string } {
  switch (event.kind) {
    case "opened":
      return { level: "info", message: "handshake succeeded, encrypting traffic to the peer" };
    case "moved":
      return { level: event.why === "drained" ? "info" : "warn", message: "moved traffic to another slot" };
    case "closed":
      if (event.why === "off")
        return { level: "info", message: "mode off, not encrypting traffic to the peer" };
      return { level: "warn", message: "peer's own record has no key, not encrypting traffic to the peer" };
    case "candidate":
      return { level: "debug", message: "no handshake yet, trying the peer's next endpoint" };
    case "silent":
      // Only the first round is a warning: a peer may be down for days.
      return { level: event.round === 1 ? "warn" : "debug", message: `peer silent, ${remedies[event.step]}` };
    case "answers":
      return { level: "info", message: "peer answers again" };
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
