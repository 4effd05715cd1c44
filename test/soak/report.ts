// What a soak run says at its end: what was done, what it cost, and what of it is a fault. Pure.
import { accountLosses, accountPlaintext, excused, type Loss } from "./account.ts";
import type { Driver } from "./driver.ts";
import { megabytes, type Rest } from "./leaks.ts";
import type { Kind } from "./plan.ts";

export interface Outcome {
  readonly driver: Pick<Driver, "done" | "refused" | "failures" | "windows" | "latestMs" | "visits">;
  readonly sent: number;
  readonly losses: readonly Loss[];
  /** When a packet of a pod was readable between the nodes. */
  readonly plaintextMs: readonly number[];
  readonly leaks: readonly string[];
  /** By node. */
  readonly before: readonly Rest[];
  readonly after: readonly Rest[];
  readonly load: string;
}

/** Of each kind of problem. */
const shown = 10;

export function reportLines(outcome: Outcome): string[] {
  const { driver, sent, losses, plaintextMs, before, after, load } = outcome;
  const kinds = [...new Set([...Object.keys(driver.done), ...Object.keys(driver.refused)])] as Kind[];
  const deeds = kinds.sort().map((kind) => {
    const refused = driver.refused[kind] ?? 0;
    return `${kind} ${driver.done[kind] ?? 0}${refused > 0 ? ` (refused ${refused})` : ""}`;
  });
  const { excusedPackets, unexcused } = accountLosses(losses, driver.windows);
  const windows = Object.entries(excused).map(([kind, { loses, afterMs, why }]) => {
    const own = driver.windows.filter((window) => window.kind === kind);
    const longestMs = Math.max(0, ...own.map(({ fromMs, toMs }) => toMs - fromMs));
    const cost = loses ? "losses" : "plaintext";
    return `  ${own.length} windows of ${kind}, ${longestMs} ms at most and ${afterMs} ms after, excuse ${cost}: ${why}`;
  });
  const memory = after.map(({ residentBytes }, at) => {
    const was = before[at]?.residentBytes ?? 0;
    return `n${at + 1} ${megabytes(was)} to ${megabytes(residentBytes)}`;
  });
  const unexcusedPlain = accountPlaintext(plaintextMs, driver.windows).length;
  return [
    `done: ${deeds.join(", ")}`,
    `packets: ${sent} sent, ${excusedPackets} lost in windows, ${count(unexcused)} lost by us`,
    `plaintext: ${plaintextMs.length - unexcusedPlain} packets in windows, ${unexcusedPlain} by us`,
    ...windows,
    `memory of the agents: ${memory.join(", ")}`,
    `machine: load ${load}; the latest deed was ${Math.round(driver.latestMs)} ms behind the plan`,
  ];
}

/** Says also if packets were lost without an excuse, of which more is known. */
export function problemsOf({ driver, losses, plaintextMs, leaks }: Outcome) {
  const { unexcused } = accountLosses(losses, driver.windows);
  const plain = accountPlaintext(plaintextMs, driver.windows);
  const never = (Object.keys(driver.refused) as Kind[]).filter((kind) => !driver.done[kind]);
  const problems = [
    ...some(driver.failures),
    ...never.map((kind) => `${kind} was refused each time`),
    ...some(unexcused.map((loss) => `${loss.packets} lost of ${loss.flow} after ${clock(loss.fromMs)}`)),
    ...some(plain.map((ms) => `a packet in plaintext at ${clock(ms)}`)),
    ...some(leaks),
  ];
  return { problems, isLossy: unexcused.length > 0 };
}

function some(lines: readonly string[]): string[] {
  return lines.length > shown
    ? [...lines.slice(0, shown), `and ${lines.length - shown} more like that`]
    : [...lines];
}

function count(losses: readonly Loss[]): number {
  return losses.reduce((sum, { packets }) => sum + packets, 0);
}

function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, -1);
}
