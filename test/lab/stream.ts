// Streams of counted UDP packets between spaces: which packets of which flow
// were lost, and when. One program runs in each space (packets.ts), however
// many flows begin or end there. A lost packet is a lost packet of the network:
// the instrument has room for all, and fails if it was too slow itself.
//
//   from ──── datagram 0, 1, 2 … ───► to          one way
//        ◄─── the same, where `echo` ──           and back

import type { Family } from "../../src/net/ip.ts";
import { type LostRange, lostRanges } from "./arrivals.ts";
import { type Evidence, LossEvidence } from "./loss-evidence.ts";
import { CommandError, type Namespaces, type Running } from "./namespaces.ts";
import { Node } from "./node.ts";
import { atPace } from "./pace.ts";
import type { ArrivalReport, Report, SentReport, SinkSpec, SourceSpec, Spec } from "./packets.ts";
import { Pod } from "./pod.ts";
import { droppedIn, widenTunnels } from "./tunnels.ts";
import { waitUntil } from "./wait.ts";

export interface Flow {
  /** Unique among the flows that are started together. */
  readonly name: string;
  readonly from: Namespaces;
  readonly to: Namespaces;
  /** The destination of the packets: an address of `to`. */
  readonly toIp: string;
  /** Every packet is answered, and counts when its answer is back. */
  readonly echo?: boolean;
}

export interface StreamOptions {
  /** Packets a second of each flow; 1000 unless told. */
  readonly rate?: number;
  /** UDP port of the receivers; one that no other stream of this process has unless told. */
  readonly port?: number;
  /** Readable in every packet, for Capture.readable(). */
  readonly text?: string;
  /** For a stream that may have losses: nothing is recorded that would explain them, and it waits less long for late packets. */
  readonly mayLose?: boolean;
}

export interface FlowResult {
  readonly name: string;
  /** How many were to be sent, refused ones included. */
  readonly sent: number;
  /** How many of these arrived; with `echo`, whose answers did. */
  readonly received: number;
  /** How many arrived at the far end: with `echo`, more than `received` if answers were lost. */
  readonly arrived: number;
  readonly duplicates: number;
  readonly lostRanges: readonly LostRange[];
  /** The longest time in which all that was sent was lost; 0 when nothing was. */
  readonly longestGapMs: number;
  /** By error, the sends that the sender's own kernel refused: `prohibit` is EACCES, a drop on the way out EPERM. */
  readonly refused: Readonly<Record<string, number>>;
  /** The same of the answers. */
  readonly answersRefused: Readonly<Record<string, number>>;
  /** The longest time that one of the received took: with `echo`, there and back. */
  readonly slowestMs: number;
}

/** The evidence of each result of a stream that lost something. */
const evidenceOf = new WeakMap<FlowResult, LossEvidence>();

const firstPort = 7000;
const ports = 1000;
let streams = 0;

/** The programs may be starved on a busy machine. */
const answerTimeoutMs = atPace(30_000);

export class Streams {
  private constructor(
    readonly flows: readonly Flow[],
    readonly rate: number,
    readonly port: number,
    private readonly programs: readonly Program[],
    /** The packets that were dropped in each node before. */
    private readonly dropped: ReadonlyMap<Node, number>,
    private readonly evidence: LossEvidence | undefined,
  ) {}

  /** Resolves once all receivers listen and all senders have begun. */
  static async start(flows: readonly Flow[], options: StreamOptions = {}): Promise<Streams> {
    const { rate = 1000, port = firstPort + (streams++ % ports), text = "", mayLose = false } = options;
    const spaces = [...new Set(flows.flatMap(({ from, to }) => [from, to]))];
    const nodes = new Set(spaces.flatMap((space) => nodeOf(space) ?? []));
    widenTunnels(nodes);
    const dropped = new Map([...nodes].map((node) => [node, droppedIn(node)]));
    const programs = spaces.map(
      (space) => new Program(space, specOf(space, flows, { rate, port, text, mayLose })),
    );
    const ready = Promise.all(programs.map((program) => program.said("ready")));
    // Together: a program that fails before the evidence is there is an error of this call, and of nothing else.
    const [evidence] = await Promise.all([mayLose ? undefined : LossEvidence.start(nodes), ready]);
    for (const program of programs) program.tell("go");
    await Promise.all(programs.map((program) => program.said("started")));
    return new Streams(flows, rate, port, programs, dropped, evidence);
  }

  /** Ends the sending, waits for what is still on its way, and counts. Throws if the instrument failed. */
  async stop(): Promise<FlowResult[]> {
    for (const program of this.programs) program.tell("halt");
    const halted = await Promise.all(this.programs.map((program) => program.said("halted")));
    const sent = Object.assign({}, ...halted.map((line) => JSON.parse(line.slice("halted ".length))));
    for (const program of this.programs) program.tell(`report ${JSON.stringify(sent)}`);
    const reports = await Promise.all(this.programs.map((program) => program.report()));
    const inPods = reports.flatMap(({ moved }, index) => {
      const { space } = this.programs[index] as Program;
      return space instanceof Node ? [] : [[space.label, moved] as const];
    });
    this.evidence?.end(new Map(inPods));
    for (const [node, before] of this.dropped) refuseDrops(node, droppedIn(node) - before);
    const results = this.flows.map((flow, index) => resultOf(flow, index, reports));
    if (this.evidence) for (const result of results) evidenceOf.set(result, this.evidence);
    return results;
  }
}

/** One flow. */
export class Stream {
  private constructor(private readonly streams: Streams) {}

  /** Packets one way; see Streams for many at once. */
  static async start(
    from: Namespaces,
    to: Namespaces,
    options: StreamOptions & { toIp: string },
  ): Promise<Stream> {
    const flow = { name: `${from.label} -> ${to.label}`, from, to, toIp: options.toIp };
    return new Stream(await Streams.start([flow], options));
  }

  async stop(): Promise<FlowResult> {
    return (await this.streams.stop())[0] as FlowResult;
  }
}

/** A flow to the address that `to` has of that family. */
export function flow(from: Pod | Node, to: Pod | Node, family: Family): Flow {
  const toIp = to.ip(family);
  if (toIp === undefined) throw new Error(`${to.label} has no IPv${family} address`);
  return { name: `${from.label} -> ${to.label} IPv${family}`, from, to, toIp };
}

/** Two flows for each pair, one each way. */
export function eachWay(pairs: readonly (readonly [Pod | Node, Pod | Node])[], family: Family): Flow[] {
  return pairs.flatMap(([one, other]) => [flow(one, other, family), flow(other, one, family)]);
}

/** Describes the losses by flow, and what is known of their cause, for a failing test; it is empty if there are none. */
export function losses(results: readonly FlowResult[]): Record<string, string | Evidence> {
  const lossy = results.filter(({ sent, received }) => received < sent);
  const flows = lossy.map((result) => [result.name, describeLoss(result)] as const);
  const all = new Set(lossy.flatMap((result) => evidenceOf.get(result) ?? []));
  const ranges = lossy.flatMap(({ lostRanges }) => lostRanges);
  const evidence = [...all].map((one, index) => [`evidence ${index + 1}`, one.describe(ranges)] as const);
  return Object.fromEntries([...flows, ...evidence]);
}

function describeLoss(result: FlowResult): string {
  const { sent, received, arrived, lostRanges, longestGapMs, refused, answersRefused, slowestMs } = result;
  const first = lostRanges.slice(0, 5).map((range) => {
    const after = new Date(range.fromMs).toISOString().slice(11, -1);
    return `${range.first} to ${range.last} (after ${after})`;
  });
  const rest = lostRanges.length > first.length ? ` and ${lostRanges.length - first.length} more` : "";
  const errors = [
    ...Object.entries(refused).map(([error, count]) => `, ${count} refused with ${error}`),
    ...Object.entries(answersRefused).map(([error, count]) => `, ${count} answers refused with ${error}`),
  ];
  const answers = arrived > received ? ` (${arrived - received} of them answers)` : "";
  const times = `longest ${Math.round(longestGapMs)} ms, slowest ${Math.round(slowestMs)} ms`;
  return `${sent - received} of ${sent} lost${answers}: ${first.join(", ")}${rest}, ${times}${errors.join("")}`;
}

function nodeOf(space: Namespaces): Node | undefined {
  if (space instanceof Node) return space;
  return space instanceof Pod ? space.node : undefined;
}

/** The tunnel of a node is a process too, which can be too slow. */
function refuseDrops(node: Node, dropped: number): void {
  if (dropped === 0) return;
  throw new Error(
    `The sockets of ${node.name} were full for ${dropped} datagrams: the machine was too slow, nothing is proved`,
  );
}

function specOf(space: Namespaces, flows: readonly Flow[], options: Required<StreamOptions>): Spec {
  const { mayLose, ...pace } = options;
  const sources: SourceSpec[] = [];
  const sinks = new Map<string, { ip: string; port: number; flows: Record<number, { echo: boolean }> }>();
  for (const [index, { from, to, toIp, echo = false }] of flows.entries()) {
    if (from === space) sources.push({ flow: index, ip: toIp, echo, ...pace });
    if (to !== space) continue;
    const sink = sinks.get(toIp) ?? { ip: toIp, port: options.port, flows: {} };
    sink.flows[index] = { echo };
    sinks.set(toIp, sink);
  }
  return { sources, sinks: [...sinks.values()] satisfies SinkSpec[], mayLose };
}

function resultOf({ name, echo }: Flow, index: number, reports: readonly Report[]): FlowResult {
  const find = <T>(of: (report: Report) => Readonly<Record<number, T>>) =>
    reports.map((report) => of(report)[index]).find((one) => one !== undefined) as T;
  const sent = find<SentReport>((report) => report.sent);
  const arrived = find<ArrivalReport>((report) => report.arrived);
  const counted = echo ? find<ArrivalReport>((report) => report.answered) : arrived;
  const lost = lostRanges(counted.runs, sent);
  return {
    name,
    sent: sent.count,
    received: counted.received,
    arrived: arrived.received,
    duplicates: counted.duplicates,
    lostRanges: lost,
    longestGapMs: Math.max(0, ...lost.map(({ fromMs, toMs }) => toMs - fromMs)),
    refused: sent.refused,
    answersRefused: arrived.refused,
    slowestMs: counted.slowestMs,
  };
}

/** packets.ts in one space. */
class Program {
  readonly #running: Running;
  readonly #lines: string[] = [];
  #ended = false;

  constructor(
    readonly space: Namespaces,
    spec: Spec,
  ) {
    const command = [process.execPath, "--smol", `${import.meta.dir}/packets.ts`, JSON.stringify(spec)];
    this.#running = space.start(command, {
      interactive: true,
      onStderrLine: (line) => this.#lines.push(line),
    });
    void this.#running.finished.then(() => {
      this.#ended = true;
    });
  }

  tell(line: string): void {
    this.#running.write(line);
  }

  /** The line that begins with `word`, once it is there. */
  said(word: string): Promise<string> {
    const look = async () => {
      const line = this.#lines.find((one) => one.startsWith(word));
      if (line === undefined && this.#ended)
        throw new CommandError(this.space.label, await this.#running.finished);
      return line ?? "";
    };
    const what = `the packets program in ${this.space.label} says "${word}"`;
    return waitUntil(look, { what, timeoutMs: answerTimeoutMs, everyMs: 5 });
  }

  async report(): Promise<Report> {
    const done = await this.#running.finished;
    if (done.exitCode !== 0) throw new CommandError(this.space.label, done);
    const report = JSON.parse(done.stdout) as Report;
    if (report.dropped > 0)
      throw new Error(
        `The receivers in ${this.space.label} were too slow for ${report.dropped} packets: nothing is proved`,
      );
    if (report.strays > 0)
      throw new Error(
        `${this.space.label} got ${report.strays} packets of flows that end elsewhere: do two spaces have one address?`,
      );
    return report;
  }
}
