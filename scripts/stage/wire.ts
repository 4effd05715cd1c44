// Captures the packets on the bridge during an act, and shows what an eavesdropper sees
// there.

import type { Capture, Kind, Tally } from "../../test/lab/capture.ts";
import type { Packet } from "../../test/lab/pcap.ts";
import { secret } from "./cluster.ts";
import type { Outcome } from "./paths.ts";
import { bar, bold, dim, fit, glyphs, green, print, red, row, yellow } from "./screen.ts";

/** The evidence of an act. */
export interface Evidence {
  readonly outcome: Outcome;
  readonly tally: Tally;
  /** Packets in which the servers' sentence can be read. */
  readonly readable: number;
  /** Of the bytes of one packet: what an eavesdropper sees. */
  readonly sample: readonly string[];
}

const kindNames: Readonly<Record<Kind, string>> = {
  plaintext: "pod packets in plaintext",
  wireguard: "UDP 51820/51821",
  host: "nodes' own, other ports",
  link: "ARP and neighbours",
  other: "anything else",
};
const barWidth = 24;
const sampleLines = 3;
const sampleWidth = 48;

export async function collect(capture: Capture, outcome: Outcome): Promise<Evidence> {
  const [tally, readable, plaintext, wireguard] = [
    await capture.tally(),
    await capture.readable(secret),
    await capture.packetsOf("plaintext"),
    await capture.packetsOf("wireguard"),
  ];
  await capture.stop();
  const telling = plaintext.find(({ bytes }) => Buffer.from(bytes).includes(secret));
  return { outcome, tally, readable, sample: printable(telling ?? longest([...wireguard, ...plaintext])) };
}

export function printEvidence({ tally, readable, sample }: Evidence): void {
  const { packets, bytes } = tally;
  const most = Math.max(...Object.values(packets));
  const kinds = (Object.keys(kindNames) as Kind[]).filter((kind) => packets[kind] > 0 || kind !== "other");
  const rows = kinds.map((kind) => [
    kindNames[kind],
    paintOf(kind)(bar(packets[kind], most, barWidth)),
    `${packets[kind]}`,
    dim(packets[kind] > 0 ? size(bytes[kind]) : ""),
  ]);
  print(`  ${bold("On the bridge between the nodes")}`);
  print();
  const columns = fit(rows, ["left", "left", "right", "right"]);
  for (const cells of rows) print(row(columns, cells));
  print();
  const found = `"${secret}" can be read in ${readable} packets`;
  print(`  ${readable > 0 ? yellow(found) : green(found)}${dim(". One packet as an eavesdropper sees it:")}`);
  for (const line of sample) print(`    ${readable > 0 ? yellow(line) : dim(line)}`);
}

/** Both acts beside each other. */
export function printComparison(before: Evidence, after: Evidence): void {
  const line = (name: string, of: (evidence: Evidence) => string) => [name, of(before), of(after)];
  const rows = [
    ["", dim("without wg-cni"), dim("with wg-cni")],
    line("measurements that answered", ({ outcome }) => `${outcome.answered} of ${outcome.measured}`),
    line(kindNames.plaintext, ({ tally }) => emphasis(tally.packets.plaintext)),
    line("packets with the sentence", ({ readable }) => emphasis(readable)),
    line(kindNames.wireguard, ({ tally }) => `${tally.packets.wireguard}`),
    line("other ports and protocols", ({ tally }) => emphasis(outside(tally))),
  ];
  const columns = fit(rows, ["left", "right", "right"]);
  for (const cells of rows) print(row(columns, cells));
  print();
}

/** Returns a sentence for each claim that the evidence does not support; none if all is proved. */
export function findDoubts(before: Evidence, after: Evidence): string[] {
  const found: string[] = [];
  for (const [name, { outcome }] of [["without", before] as const, ["with", after] as const])
    if (outcome.answered < outcome.measured)
      found.push(`${outcome.measured - outcome.answered} measurements failed ${name} wg-cni.`);
  if (before.tally.packets.plaintext === 0 || before.readable === 0)
    found.push("The capture saw no clear text without wg-cni, so it proves nothing.");
  if (after.tally.packets.plaintext > 0)
    found.push(`${after.tally.packets.plaintext} pod packets were in plaintext with wg-cni.`);
  if (after.readable > 0) found.push(`The sentence could be read ${after.readable} times with wg-cni.`);
  if (after.tally.packets.wireguard === 0) found.push("Nothing went through WireGuard.");
  const unaccounted = outside(after.tally);
  if (unaccounted > 0)
    found.push(`${unaccounted} packets between the nodes used other ports or protocols than WireGuard.`);
  return found;
}

/** The demo's nodes have no other traffic, so such packets could only be disguised pod traffic. */
function outside({ packets }: Tally): number {
  return packets.host + packets.other;
}

function emphasis(count: number): string {
  return count > 0 ? yellow(`${count}`) : green(`${count}`);
}

function paintOf(kind: Kind): (text: string) => string {
  return kind === "plaintext" ? yellow : kind === "wireguard" ? green : kind === "other" ? red : dim;
}

function longest(packets: readonly Packet[]): Packet | undefined {
  return packets.toSorted((a, b) => b.length - a.length)[0];
}

/** The start of the payload, unprintable bytes as dots. */
function printable(packet: Packet | undefined): string[] {
  if (!packet) return [];
  const payload = (packet.payload ?? packet.bytes).subarray(0, sampleLines * sampleWidth);
  const text = Array.from(payload, (byte) =>
    byte > 31 && byte < 127 ? String.fromCharCode(byte) : glyphs.dot,
  ).join("");
  return text.match(new RegExp(`.{1,${sampleWidth}}`, "g")) ?? [];
}

function size(bytes: number): string {
  return bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`;
}
