// All that a pod could leave on its node, as others than the product see it.

import { readdirSync } from "node:fs";
import { type Json, rows, snapshot, throwRoutes } from "../../kernel/support/reference.ts";
import type { Node } from "../../lab/node.ts";
import type { Enclosure } from "./enclosure.ts";
import { leases } from "./networks.ts";

export interface Traces {
  readonly network: readonly string[];
  readonly throwRoutes: readonly string[];
  readonly attachments: readonly Json[];
  readonly ownLeases: readonly Json[];
  readonly hostLocalLeases: readonly string[];
  readonly namespaces: readonly string[];
}

/** Take it before and after: what differs was left. */
export function traces({ node }: Enclosure): Traces {
  const { attachments, leases: ownLeases } = rows(node);
  return {
    network: snapshot(node),
    throwRoutes: throwRoutes(node),
    attachments,
    ownLeases,
    hostLocalLeases: leases(node),
    namespaces: readdirSync(node.outsidePath("/run/netns")),
  };
}

/** Bytes that wg(8) says went to and came from all peers of a node. */
export function transferred(node: Node): number {
  const lines = ["wg-cni-a", "wg-cni-b"].flatMap((device) =>
    node.must(["wg", "show", device, "transfer"]).trim().split("\n"),
  );
  return lines.reduce(
    (sum, line) => sum + Number(line.split("\t")[1] ?? 0) + Number(line.split("\t")[2] ?? 0),
    0,
  );
}
