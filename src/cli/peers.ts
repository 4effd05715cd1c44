// `peer list` and `peer remove`: who this node knows, and what each of them owns.

import { suggest } from "../net/suggest.ts";
import { resolveClaims } from "../plan/claims.ts";
import { routeSlot } from "../plan/mesh.ts";
import { readNode } from "../reconcile/node.ts";
import { type Context, type Output, UsageError } from "./command.ts";
import { openSession, reportSync } from "./session.ts";
import { alignColumns, countOf } from "./style.ts";

export function peerList(context: Context): Output {
  using session = openSession(context);
  const { record, peers } = readNode(session.store);
  const local = record ?? { name: "", nodeIPs: [], podCIDRs: [], slots: [], endpoints: [] };
  const { peers: owned, refusals } = resolveClaims(
    { ...local, publicKeys: local.slots.map((slot) => slot.publicKey) },
    peers,
  );
  const rows = owned.map((peer) => {
    const slot = routeSlot(local, peer);
    return {
      ...peer,
      slot,
      refused: refusals.filter((refusal) => refusal.peer === peer.name).map(({ reason }) => reason),
    };
  });
  return {
    json: rows,
    text: (style) => {
      if (rows.length === 0) return "no peers; `wg-cni peer import FILE` takes the records of other nodes\n";
      const head = ["PEER", "SLOT", "ENDPOINT", "NODE IPS", "POD CIDRS"].map(style.bold);
      const table = rows.map((row) => [
        row.name,
        row.slot ?? style.yellow("no key"),
        row.endpoints[0] ?? style.yellow("none"),
        row.nodeIPs.join(", ") || "none",
        row.podCIDRs.join(", ") || "none",
      ]);
      const complaints = rows
        .flatMap((row) => row.refused)
        .map((reason) => `${style.yellow("!")} refused: ${reason}\n`);
      return `${alignColumns([head, ...table])}\n${complaints.join("")}`;
    },
  };
}

export function peerRemove(context: Context): Output {
  const [name] = context.given.positional;
  if (name === undefined) throw new UsageError("peer remove needs the peer's name");
  using session = openSession(context);
  const names = session.store.peers().map(({ record }) => record.name);
  if (!session.store.removePeer(name)) {
    const near = suggest(name, names);
    const hint =
      near === undefined
        ? `there ${names.length === 1 ? "is" : "are"} ${countOf(names.length, "peer")}`
        : `did you mean "${near}"?`;
    throw new UsageError(`there is no peer "${name}"; ${hint}`);
  }
  if (!(session.store.identity()?.up ?? false))
    return {
      json: { removed: name },
      text: () => `Removed ${name}; the node is not up, so nothing else changes\n`,
    };
  return reportSync(session.sync(), `Removed ${name}`);
}
