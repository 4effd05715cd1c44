// Judges cluster CIDRs. Strict mode refuses traffic to addresses in them that belong to no known node. So a
// CIDR that contains a node, a gateway or the control plane (usually the range of a whole VPC) would refuse
// traffic to hosts. Pure.
//
//   caller                          a CIDR that contains such an address
//   ──────────────────────────────  ──────────────────────────────────────────────
//   `up`, admission                 is refused, and nothing is changed
//   the agent, for the cluster's    is not accepted: the earlier setting stays
//   mesh
//   every sync: peers and           is left out and reported; the other CIDRs still hold
//   addresses may be new
import { ParseError } from "../../net/error.ts";
import { parsePrefix } from "../../net/prefix.ts";
import { specialNetwork } from "../../net/special.ts";
import { findHeld, type Landmark } from "./landmarks.ts";

/** The most CIDRs that a WireGuardMesh may have (conf/kubernetes/mesh.yaml). */
const maxCIDRs = 64;

export interface CidrRefusal {
  readonly cidr: string;
  /** The address that it holds. */
  readonly ip: string;
  /** A sentence. */
  readonly reason: string;
}

export interface JudgedCIDRs {
  readonly kept: readonly string[];
  readonly refusals: readonly CidrRefusal[];
}

export function judgeClusterCIDRs(cidrs: readonly string[], landmarks: readonly Landmark[]): JudgedCIDRs {
  const kept: string[] = [];
  const refusals: CidrRefusal[] = [];
  for (const cidr of cidrs) {
    const held = findHeld(cidr, landmarks);
    if (held === undefined) kept.push(cidr);
    else refusals.push({ cidr, ip: held.ip, reason: explain(cidr, held) });
  }
  return { kept, refusals };
}

function explain(cidr: string, { ip, whose }: Landmark): string {
  return `cluster CIDR ${cidr} holds ${ip}, ${whose}: strict mode would refuse to pods what is no pod's; name only the pods' part of it, or leave it out`;
}

/** Throws ParseError if a CIDR cannot be the network of the cluster's pods or nodes. */
export function refuseImpossibleCIDRs(raw: readonly string[], of: "pods" | "nodes" = "pods"): void {
  if (raw.length > maxCIDRs) throw new ParseError(`has ${raw.length} entries, at most ${maxCIDRs} are taken`);
  for (const text of raw) {
    const cidr = parsePrefix(text);
    if (!isSamePrefix(text, cidr)) throw new ParseError(`${text} has host bits set; did you mean ${cidr}?`);
    const special = specialNetwork(cidr);
    if (special !== undefined) throw new ParseError(`${cidr} ${special}: that is no network of ${of}`);
  }
}

/** IPv6 may be written in more than one way. */
function isSamePrefix(text: string, cidr: string): boolean {
  const slash = text.indexOf("/");
  const one = `${text.slice(0, slash)}/${text.includes(":") ? 128 : 32}`;
  return parsePrefix(one).replace(/\/\d+$/, "") === cidr.slice(0, cidr.indexOf("/"));
}
