// Judges if a routing rule of another program can take our packets. `up`, a sync after a boot and
// `doctor` share this judgement, so that a rule that is tolerated at one time is not refused at another.
// Pure.
//
// Three kinds of packets are ours, and each can be taken in one way:
//
//   to other nodes' pods   they carry no mark, and look up our tables at the rules
//                          first+1 and first+2: a rule that matches packets without
//                          a mark and stands before the last of these takes them
//   encrypted              they carry our mark: a rule that acts on our bit takes
//                          them, or shows that another program sets our bit on packets of
//                          theirs, which then skip our tables
//   looked up in a table   a rule that sends other packets into one of our tables
//                          encrypts what should not be encrypted
//
// Rules before our first rule are not judged here: doctor/bypass-rules.ts follows them into their
// tables, because products that put rules there usually mean other packets.
import type { Rule } from "../../net/objects.ts";
import { formatMark } from "../settings/parsers.ts";
import type { Settings } from "../settings/settings.ts";
import { renderRule } from "../step.ts";

/** The kinds of our packets that a rule can take. */
export type RuleHarm = "table" | "order" | "mark";

export interface RuleVerdict {
  readonly harm: RuleHarm;
  /** A sentence with a remedy. */
  readonly text: string;
}

/** RT_TABLE_LOCAL (linux/rtnetlink.h): it has a node's own addresses, which no packet of ours is sent to. */
const localTable = 255;

/** Returns undefined if the rule can take none of our packets. */
export function judgeRule(settings: Settings, rule: Rule): RuleVerdict | undefined {
  const { rulePriority: first, hostTable, podTable, routeProtocol, fwmark } = settings;
  if (rule.protocol === routeProtocol) return undefined;
  const text = `rule "${renderRule(rule)}"`;
  if (rule.table === hostTable || rule.table === podTable)
    return {
      harm: "table",
      text: `${text} points at our routing table ${rule.table}: choose others with --host-table and --pod-table`,
    };
  if (comesBetween(first, rule) && takesUnmarked(rule))
    return {
      harm: "order",
      text: `${text} comes between the rules of ours, which have the priorities ${first} to ${first + 3}, and takes packets before them: choose another with --rule-priority`,
    };
  if (actsOnMark(settings, rule))
    return {
      harm: "mark",
      text: `${text} acts on our mark ${formatMark(fwmark)}: choose another with --fwmark`,
    };
  return undefined;
}

/**
 * The kernel puts a rule behind those that have its priority. So one at our first
 * priority comes before or behind our goto, and in both cases before the lookups.
 * Our last rule does nothing: a rule that shares its priority is behind all of ours.
 */
function comesBetween(first: number, { priority }: Rule): boolean {
  return priority >= first && priority < first + 3;
}

/** True if it decides about packets without a mark that come from a pod or this node. */
function takesUnmarked(rule: Rule): boolean {
  if (rule.action === "nop" || rule.table === localTable) return false;
  // "not" turns all selectors together: without any it matches nothing, with some nearly all.
  if (rule.invert) return hasSelectors(rule);
  // A packet with a requested interface comes from a program that has chosen that interface on purpose.
  if (rule.oif !== undefined) return false;
  return rule.fwmark === undefined || rule.fwmark.mark === 0;
}

function hasSelectors({ src, dst, iif, oif, fwmark, hasOtherSelectors }: Rule): boolean {
  return (
    [src, dst, iif, oif, fwmark].some((selector) => selector !== undefined) || hasOtherSelectors === true
  );
}

/**
 * True if the rule selects packets with our mark: it tests bits of ours, and requires that one of them is
 * set. A mask that includes our bits and requires that they are clear (Tailscale's 0x80000/0xff0000,
 * wg-quick's whole mark) neither takes our packets nor shows that another program sets our bit.
 */
function actsOnMark({ fwmark: ours }: Settings, { fwmark: theirs }: Rule): boolean {
  if (theirs === undefined) return false;
  const shared = theirs.mask & ours.mask;
  return (theirs.mark & shared) !== 0;
}
