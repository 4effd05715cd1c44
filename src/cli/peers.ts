// `peer list` shows the peers that this node knows and the claims of each; `peer remove` removes one.

import { countOf } from "../net/human-format.ts";
import type { PeerSource, Slot } from "../net/record.ts";
import { suggest } from "../net/suggest.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { resolvePath } from "../plan/peers/path.ts";
import { recordFile } from "../plan/records/directory.ts";
import { noNode } from "../reconcile/node-reader.ts";
import type { Session } from "../reconcile/session.ts";
import type { RejectedRecord } from "../state/model.ts";
import { type Context, type Output, UsageError } from "./command.ts";
import { openSession, reportSync, syncAll } from "./session.ts";
import { alignColumns, oneLine, type Style } from "./style.ts";

export function peerList(context: Context): Output {
  using session = openSession(context);
  const { record = noNode, ownership, paths } = session.nodes.read();
  const { peers, refusals } = ownership;
  const sources = session.store.peerSources();
  const rejectedRecords = session.store.rejectedRecords();
  const rows = peers.map((peer) => {
    const { slot } = resolvePath(record, peer, paths);
    return {
      ...peer,
      source: sources.get(peer.name) ?? "import",
      slot,
      refused: refusals.filter((refusal) => refusal.peer === peer.name).map(({ reason }) => reason),
    };
  });
  return {
    json: { peers: rows, rejectedRecords: rejectedRecords },
    text: (style) => `${renderPeers(rows, style)}\n${renderRejected(rejectedRecords, style)}`,
  };
}

interface ListedPeer extends OwnedPeer {
  readonly source: PeerSource;
  readonly slot: Slot | undefined;
  /** The reasons of its refused claims. */
  readonly refused: readonly string[];
}

function renderPeers(rows: readonly ListedPeer[], style: Style): string {
  if (rows.length === 0) return "no peers; `wg-cni peer import FILE` imports the records of other nodes";
  const head = ["PEER", "FROM", "SLOT", "ENDPOINT", "NODE IPS", "POD CIDRS"].map(style.bold);
  const table = rows.map((row) => [
    row.name,
    row.source,
    row.slot ?? (row.slots.length === 0 ? style.yellow("no key") : "-"),
    row.endpoints[0] ?? style.yellow("none"),
    row.nodeIPs.join(", ") || "none",
    row.podCIDRs.join(", ") || "none",
  ]);
  const complaints = rows
    .flatMap((row) => row.refused)
    .map((reason) => `${style.yellow("!")} claim refused: ${oneLine(reason)}`);
  return [alignColumns([head, ...table]), ...complaints].join("\n");
}

/** Lists the rejected records; returns an empty text if there are none. */
function renderRejected(rejected: readonly RejectedRecord[], style: Style): string {
  if (rejected.length === 0) return "";
  const head = ["REJECTED RECORD", "REASON"].map(style.bold);
  const table = rejected.map(({ file, reason }) => [style.yellow(file), reason]);
  return `\n${alignColumns([head, ...table])}\n`;
}

export function peerRemove(context: Context): Output {
  const [name] = context.given.positional;
  if (name === undefined) throw new UsageError("peer remove needs the peer's name");
  using session = openSession(context);
  const peer = session.store.peers().find(({ record }) => record.name === name);
  if (!session.store.removePeer(name)) throw noSuchPeer(session, name);
  const again = explainReturn(name, peer?.source);
  if (!(session.store.identity()?.up ?? false))
    return {
      json: { removed: name },
      text: () => `Removed ${name}${again}; the node is not up, so nothing else changes\n`,
    };
  return reportSync(syncAll(session), `Removed ${name}${again}`);
}

function explainReturn(name: string, source: PeerSource | undefined): string {
  switch (source) {
    case "directory":
      return `; an agent adds it again as long as ${recordFile(name)} is in the records directory`;
    case "kube":
      return `; an agent adds it again as long as the Kubernetes API has WireGuardNode ${name}`;
    default:
      return "";
  }
}

/** Returns the error for a name that no peer has. */
export function noSuchPeer({ store }: Session, name: string): UsageError {
  const names = store.peers().map(({ record }) => record.name);
  const near = suggest(name, names);
  const hint =
    near === undefined
      ? `there ${names.length === 1 ? "is" : "are"} ${countOf(names.length, "peer")}`
      : `did you mean "${near}"?`;
  return new UsageError(`there is no peer "${name}"; ${hint}`);
}
