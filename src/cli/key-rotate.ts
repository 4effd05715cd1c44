// `key rotate` asks the agent for new keys without a lost packet, or, if a key leaked,
// replaces both keys at once in this process.

import { countOf } from "../net/human-format.ts";
import { slots } from "../plan/peers/path.ts";
import { isAnnounced } from "../plan/settings/settings.ts";
import { ownRecord, readSettings } from "../reconcile/node-reader.ts";
import type { Session } from "../reconcile/session.ts";
import { NotUpError } from "../reconcile/sync.ts";
import { publishRecord, RecordsError } from "../sources/directory/files.ts";
import type { Identity } from "../state/model.ts";
import { readOrCreateSealKey } from "../state/seal.ts";
import { makeSlotKeys } from "../state/slot-key.ts";
import type { Store } from "../state/store.ts";
import type { Context, Output } from "./command.ts";
import { describeOrigin } from "./rotation.ts";
import { isAgentThere, openSession, reportSync, syncAll } from "./session.ts";
import type { Style } from "./style.ts";

export function keyRotate(context: Context): Output {
  using session = openSession(context);
  const identity = session.store.identity();
  if (identity === undefined) throw new NotUpError("This node has no keys yet: `wg-cni up` makes them.");
  if (context.given.switches.has("compromised")) return replaceKeys(session, identity, context);
  if (!identity.up)
    throw new NotUpError("This node is down, and keys are rotated while it is up: run `wg-cni up` first.");
  return askAgent(session.store, context);
}

function askAgent(store: Store, { stateDir, nowMs }: Context): Output {
  if (!isAnnounced(readSettings(store)))
    throw new Error(
      "The peers would not learn the new keys: give the records directory with `wg-cni up --records-dir DIR`, or the Kubernetes API with --kubeconfig. `wg-cni key rotate --compromised` needs neither, and loses packets until the peers have the new record.",
    );
  if (!isAgentThere(stateDir))
    throw new Error(
      `No agent runs on the store ${stateDir}, and it is the agent that rotates keys: start \`wg-cni agent\`.`,
    );
  const rotation = { remaining: slots, why: "command", startedAtMs: nowMs } as const;
  const going = store.transaction(() => {
    const before = store.rotation();
    if (before === undefined) store.putRotation(rotation);
    return before;
  });
  if (going !== undefined)
    throw new Error(
      `The keys are being rotated already (${describeOrigin(going, nowMs)}; still to come: slot ${going.remaining.join(", then ")}). \`wg-cni status\` shows how far it is.`,
    );
  const { drainTimeout } = readSettings(store);
  return {
    json: { rotation },
    text: (style) =>
      `${style.green("✓")} the agent rotates this node's keys now, without losing a packet: slot a, then slot b
  Each is left by all traffic (10 s at least, ${drainTimeout} s at most), then gets its new key.
  \`wg-cni status\` shows how far it is, the agent's log each step, \`wg-cni key show\` the new keys.\n`,
  };
}

/** Peers learn the new keys from a directory, from the API through the agent, or by hand; a reason explains the last. */
type AnnouncementOutcome =
  | { readonly by: "directory"; readonly directory: string }
  | { readonly by: "agent" }
  | { readonly by: "hand"; readonly reason: string; readonly failed: boolean };

function replaceKeys(session: Session, { name }: Identity, { nowMs }: Context): Output {
  const { store } = session;
  const sealKey = readOrCreateSealKey(readSettings(store).sealKeyFile);
  const made = makeSlotKeys(sealKey, name, slots, nowMs);
  const identity = store.transaction(() => {
    const now = { ...(store.identity() as Identity), slots: made };
    store.putIdentity(now);
    store.putRotation(undefined);
    return now;
  });
  const headline = `Node ${name} has new keys in both slots`;
  const synced: Output = identity.up
    ? reportSync(syncAll(session), headline)
    : { json: { node: name }, text: () => `${headline}; it is down, so nothing is programmed\n` };
  const publication = publish(store, identity);
  const peers = store.peers().length;
  const isApplied = identity.up && synced.exitCode === 0;
  const failed = publication.by === "hand" && publication.failed;
  return {
    json: { ...(synced.json as object), peers, publication },
    text: (style) =>
      `${synced.text(style)}${describeCost({ isUp: identity.up, isApplied, peers, publication }, style)}`,
    exitCode: synced.exitCode || (failed ? 1 : 0),
  };
}

/** Publishes the record. The keys are replaced by now: a failure from here on is reported, and undoes nothing. */
function publish(store: Store, identity: Identity): AnnouncementOutcome {
  const settings = readSettings(store);
  const directory = settings.recordsDir;
  if (!identity.up) return { by: "hand", reason: "a node that is down is not announced", failed: false };
  if (settings.kubeconfig !== "") {
    if (isAgentThere(store.directory)) return { by: "agent" };
    return { by: "hand", reason: "no agent runs, which would write it to the Kubernetes API", failed: true };
  }
  if (directory === "")
    return { by: "hand", reason: "neither recordsDir nor kubeconfig is set", failed: false };
  try {
    publishRecord(directory, ownRecord(identity, settings));
    return { by: "directory", directory };
  } catch (error) {
    if (!(error instanceof RecordsError)) throw error;
    return { by: "hand", reason: error.message, failed: true };
  }
}

interface KeyReplacement {
  readonly isUp: boolean;
  /** True if the kernel has the new keys. */
  readonly isApplied: boolean;
  readonly peers: number;
  readonly publication: AnnouncementOutcome;
}

/** Describes what the replacement costs, and what is left to do. */
function describeCost({ isUp, isApplied, peers, publication }: KeyReplacement, style: Style): string {
  const { green, yellow } = style;
  if (peers === 0) return `  ${green("✓")} no peer has to learn the new keys\n`;
  const here = isApplied
    ? "this node refuses the old keys from now on, a peer"
    : "a peer refuses the old keys";
  const loss = `packets to and from ${countOf(peers, "peer")} are lost until each has taken this node's new record`;
  const lines = [
    ...(isUp ? [`${yellow("!")} ${loss}`] : []),
    `${yellow("!")} ${here} as soon as it has the new record`,
    describePublication(publication, style),
  ];
  return lines.map((line) => `  ${line}\n`).join("");
}

function describePublication(publication: AnnouncementOutcome, { green, yellow, red }: Style): string {
  switch (publication.by) {
    case "agent":
      return `${green("✓")} the agent writes the record to the Kubernetes API; peers with an agent take it from there`;
    case "directory":
      return `${green("✓")} the record is in ${publication.directory}; peers with an agent take it from there`;
    case "hand":
      return `${publication.failed ? red("✗") : yellow("!")} the record was not published (${publication.reason}): give it to the peers now, by \`wg-cni node show --json\` here and \`wg-cni peer import\` there`;
  }
}
