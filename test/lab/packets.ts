// The program that stream.ts runs in a space: sends numbered datagrams at an
// even pace, notes those that arrive, and answers where it is asked to. Told
// what to do line by line on standard input; says on standard error when it is
// done, and prints its report at the end.
//
//   bun test/lab/packets.ts SPEC
//   go                 begin to send                    → "started"
//   halt               send no more                     → "halted {FLOW: COUNT}"
//   report {FLOW: N}   wait for the rest, then report   → Report on standard output

import { familyOf } from "../../src/net/ip.ts";
import { Arrivals, type Run, type Sent } from "./arrivals.ts";
import { blankDatagram, findDatagram, numberDatagram, sockaddr, UdpSocket } from "./datagram.ts";
import { movedCounters, readDropCounters } from "./drop-counters.ts";

export interface Spec {
  readonly sources: readonly SourceSpec[];
  readonly sinks: readonly SinkSpec[];
  readonly mayLose: boolean;
}

export interface SourceSpec {
  readonly flow: number;
  readonly ip: string;
  readonly port: number;
  /** Packets a second. */
  readonly rate: number;
  readonly text: string;
  /** Answers are expected, and noted. */
  readonly echo: boolean;
}

export interface SinkSpec {
  readonly ip: string;
  readonly port: number;
  /** The flows that arrive there, and whether they are answered. */
  readonly flows: Readonly<Record<number, { readonly echo: boolean }>>;
}

export interface SentReport extends Sent {
  /** By error, the sends that the kernel refused; their numbers are used up. */
  readonly refused: Readonly<Record<string, number>>;
}

export interface ArrivalReport {
  readonly received: number;
  readonly duplicates: number;
  readonly slowestMs: number;
  readonly runs: readonly Run[];
  /** By error, the answers that the kernel refused. */
  readonly refused: Readonly<Record<string, number>>;
}

/** Each by flow. */
export interface Report {
  readonly sent: Readonly<Record<number, SentReport>>;
  readonly answered: Readonly<Record<number, ArrivalReport>>;
  readonly arrived: Readonly<Record<number, ArrivalReport>>;
  /** Packets that this program came too late for. */
  readonly dropped: number;
  /** Packets of flows that do not end here. */
  readonly strays: number;
  /** The counters of dropped packets that moved in this namespace. */
  readonly moved: readonly string[];
}

/** So many at once at most, when the pace has to be caught up with: queues on the way are longer. */
const burst = 32;
const receivesAtOnce = 1000;
/**
 * Nothing more is expected after a silence as long as this. With 30 processes for each processor, answers have
 * come after 9 s: a packet that must not be lost is waited for longer than that.
 */
const quietMs = { mayLose: 3_000, mustArrive: 12_000 } as const;
const drainMs = 60_000;

const now = () => performance.timeOrigin + performance.now();

class Source {
  readonly answers = new Arrivals();
  count = 0;
  readonly #socket: UdpSocket;
  readonly #to: Uint8Array;
  readonly #datagram: Uint8Array;
  readonly #refused: Record<string, number> = {};
  #startMs = 0;
  #firstMs = 0;
  #lastMs = 0;

  constructor(readonly spec: SourceSpec) {
    this.#socket = new UdpSocket(familyOf(spec.ip), `the sender to ${spec.ip} port ${spec.port}`);
    this.#to = sockaddr(spec.ip, spec.port);
    this.#datagram = blankDatagram(spec.flow, spec.text);
  }

  /** The first one goes at once: a stream that begins sends something. */
  start(): void {
    this.#startMs = now();
    this.send();
  }

  /** Sends the packets that are due by now. */
  send(): void {
    const due = Math.floor(((now() - this.#startMs) * this.spec.rate) / 1000) + 1;
    for (let left = Math.min(due - this.count, burst); left > 0; left--) {
      const sentMs = now();
      numberDatagram(this.#datagram, this.count, sentMs);
      const error = this.#socket.trySend(this.#datagram, this.#datagram.length, this.#to);
      // The socket's own queue is full: nothing is lost, only late.
      if (error === "EAGAIN") return;
      if (error !== undefined) this.#refused[error] = (this.#refused[error] ?? 0) + 1;
      if (this.count === 0) this.#firstMs = sentMs;
      this.#lastMs = sentMs;
      this.count++;
    }
  }

  receive(): void {
    if (!this.spec.echo) return;
    forEachDatagram(this.#socket, ({ flow, number, sentMs }) => {
      if (flow === this.spec.flow) this.answers.note(number, sentMs, lastArrivalMs);
      else strays++;
    });
  }

  get dropped(): number {
    return this.spec.echo ? this.#socket.dropped() : 0;
  }

  get report(): SentReport {
    return { count: this.count, firstMs: this.#firstMs, lastMs: this.#lastMs, refused: this.#refused };
  }
}

class Sink {
  readonly arrivals = new Map<number, Arrivals>();
  readonly refused = new Map<number, Record<string, number>>();
  /** Answers that found the queue of this socket full. */
  #unanswered = 0;
  readonly #socket: UdpSocket;

  constructor(readonly spec: SinkSpec) {
    const { ip, port, flows } = spec;
    this.#socket = new UdpSocket(familyOf(ip), `the receiver at ${ip} port ${port}`, sockaddr(ip, port));
    for (const flow of Object.keys(flows)) this.arrivals.set(Number(flow), new Arrivals());
  }

  receive(): void {
    forEachDatagram(this.#socket, ({ flow, number, sentMs }, length) => {
      const arrivals = this.arrivals.get(flow);
      if (arrivals === undefined) strays++;
      arrivals?.note(number, sentMs, lastArrivalMs);
      if (this.spec.flows[flow]?.echo) this.#answer(flow, length);
    });
  }

  get dropped(): number {
    return this.#socket.dropped() + this.#unanswered;
  }

  /** An answer that is refused is one that does not arrive. */
  #answer(flow: number, length: number): void {
    const error = this.#socket.tryAnswer(length);
    if (error === "EAGAIN") this.#unanswered++;
    else if (error !== undefined) {
      const refused = this.refused.get(flow) ?? {};
      refused[error] = (refused[error] ?? 0) + 1;
      this.refused.set(flow, refused);
    }
  }
}

let lastArrivalMs = 0;
let strays = 0;

function forEachDatagram(
  socket: UdpSocket,
  note: (datagram: { flow: number; number: number; sentMs: number }, length: number) => void,
): void {
  for (let left = receivesAtOnce; left > 0; left--) {
    const length = socket.receive();
    if (length === undefined) return;
    const datagram = findDatagram(socket.buffer, length);
    if (datagram === undefined) continue;
    lastArrivalMs = now();
    note(datagram, length);
  }
}

function reportArrivals(arrivals: Arrivals, refused: ArrivalReport["refused"] = {}): ArrivalReport {
  const { received, duplicates, slowestMs } = arrivals;
  return { received, duplicates, slowestMs, runs: arrivals.runs(), refused };
}

class Program {
  readonly #sources: readonly Source[];
  readonly #sinks: readonly Sink[];
  /** A packet is sent a millisecond late at most, at rates of up to a thousand. */
  readonly #tickMs: number;
  readonly #quietMs: number;
  readonly #counters = readDropCounters("/proc/net");
  #sending = false;
  /** The number of packets that the other side sent, once it is known: the end is near. */
  #expected: Readonly<Record<number, number>> | undefined;

  constructor(spec: Spec) {
    this.#sources = spec.sources.map((source) => new Source(source));
    this.#sinks = spec.sinks.map((sink) => new Sink(sink));
    this.#quietMs = quietMs[spec.mayLose ? "mayLose" : "mustArrive"];
    const fastest = Math.max(...spec.sources.map(({ rate }) => rate), 200);
    this.#tickMs = Math.max(1, Math.floor(1000 / fastest));
  }

  obey(line: string): void {
    const [verb, argument] = line.split(/ (.*)/s);
    if (verb === "go") {
      for (const source of this.#sources) source.start();
      this.#sending = true;
      console.error("started");
    } else if (verb === "halt") {
      this.#sending = false;
      const counts = this.#sources.map(({ spec, count }) => [spec.flow, count]);
      console.error(`halted ${JSON.stringify(Object.fromEntries(counts))}`);
    } else if (verb === "report") {
      lastArrivalMs = now();
      this.#expected = JSON.parse(argument as string);
    } else throw new Error(`"${line}" is none of go, halt, report`);
  }

  /** Works until everything expected has arrived, or nothing more comes. */
  async run(): Promise<Report> {
    let endMs = Number.POSITIVE_INFINITY;
    for (;;) {
      for (const one of [...this.#sinks, ...this.#sources]) one.receive();
      if (this.#sending) for (const source of this.#sources) source.send();
      if (this.#expected !== undefined) {
        endMs = Math.min(endMs, now() + drainMs);
        if (this.#isComplete(this.#expected) || now() > Math.min(endMs, lastArrivalMs + this.#quietMs)) break;
      }
      await Bun.sleep(this.#tickMs);
    }
    return this.#report();
  }

  #isComplete(expected: Readonly<Record<number, number>>): boolean {
    return (
      this.#sources.every(({ spec, count, answers }) => !spec.echo || answers.received === count) &&
      this.#sinks.every(({ arrivals }) =>
        [...arrivals].every(([flow, { received }]) => received === expected[flow]),
      )
    );
  }

  #report(): Report {
    const sources = this.#sources.map((source) => [source.spec.flow, source.report]);
    const echoing = this.#sources.filter(({ spec }) => spec.echo);
    const answered = echoing.map(({ spec, answers }) => [spec.flow, reportArrivals(answers)]);
    const arrived = this.#sinks.flatMap(({ arrivals, refused }) =>
      [...arrivals].map(([flow, noted]) => [flow, reportArrivals(noted, refused.get(flow))]),
    );
    return {
      sent: Object.fromEntries(sources),
      answered: Object.fromEntries(answered),
      arrived: Object.fromEntries(arrived),
      dropped: [...this.#sinks, ...this.#sources].reduce((sum, { dropped }) => sum + dropped, 0),
      strays,
      moved: movedCounters(this.#counters, readDropCounters("/proc/net")),
    };
  }
}

async function obeyAll(program: Program): Promise<never> {
  for await (const line of console) program.obey(line);
  throw new Error("Standard input ended before the report");
}

if (import.meta.main) {
  const program = new Program(JSON.parse(process.argv[2] as string));
  console.error("ready");
  const report = await Promise.race([program.run(), obeyAll(program)]);
  await Bun.write(Bun.stdout, JSON.stringify(report));
  process.exit(0);
}
