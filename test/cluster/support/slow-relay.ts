// A relay between two TCP endpoints that does not look at what it passes on, and may do
// it badly: late, or not at all any more. Used by programs that run in a lab.
import type { Socket, TCPSocketListener } from "bun";

/** The relay's effect on everything that it passes on; it may change at any time. */
export interface LinkConditions {
  /** Of what the server says. */
  delayMs: number;
  /** For whom it is passed on: a port of the loopback of the namespace that the thread is in when a caller comes. */
  target: number;
}

/** One direction of a connection: takes what comes, and keeps what the other side cannot take yet. */
class Direction {
  readonly #waiting: { readonly dueMs: number; bytes: Uint8Array }[] = [];
  #to: Socket<Directions> | undefined;
  #ended = false;
  #isHeld = false;

  constructor(private readonly delayMs: () => number) {}

  open(to: Socket<Directions>): void {
    this.#to = to;
    this.flush();
  }

  /** Nothing comes through any more, and nobody is told. */
  hold(): void {
    this.#isHeld = true;
  }

  take(bytes: Uint8Array): void {
    if (this.#isHeld) return;
    this.#waiting.push({ dueMs: performance.now() + this.delayMs(), bytes: Uint8Array.from(bytes) });
    this.flush();
  }

  end(): void {
    this.#ended = true;
    this.flush();
  }

  flush(): void {
    if (this.#to === undefined) return;
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const earlyMs = first.dueMs - performance.now();
      if (earlyMs > 0) {
        setTimeout(() => this.flush(), earlyMs);
        return;
      }
      const written = Math.max(0, this.#to.write(first.bytes));
      if (written < first.bytes.length) {
        first.bytes = first.bytes.subarray(written);
        return;
      }
      this.#waiting.shift();
    }
    if (this.#ended) this.#to.end();
  }
}

/** As one socket of a connection sees them. */
interface Directions {
  readonly away: Direction;
  readonly back: Direction;
}

const handlers = {
  data: ({ data: { away } }: Socket<Directions>, bytes: Uint8Array) => away.take(bytes),
  drain: ({ data: { back } }: Socket<Directions>) => back.flush(),
  error: ({ data: { away } }: Socket<Directions>) => away.end(),
};

const loopback = "127.0.0.1";
const atOnce = () => 0;

export class Relay {
  readonly #listener: TCPSocketListener<Directions>;
  readonly #callers = new Set<Socket<Directions>>();

  /** `port` 0 is any. */
  constructor(
    hostname: string,
    port: number,
    private readonly weather: LinkConditions,
  ) {
    const data = { away: new Direction(atOnce), back: new Direction(atOnce) };
    const close = (caller: Socket<Directions>) => {
      this.#callers.delete(caller);
      caller.data.away.end();
    };
    const socket = { ...handlers, close, open: (caller: Socket<Directions>) => this.#accept(caller) };
    this.#listener = Bun.listen<Directions>({ hostname, port, data, socket });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** The connections that there are now stay open, and nothing comes through them. */
  hold(): void {
    for (const { data } of this.#callers) for (const way of [data.away, data.back]) way.hold();
  }

  /** They end. */
  cut(): void {
    for (const caller of this.#callers) caller.terminate();
  }

  #accept(caller: Socket<Directions>): void {
    const away = new Direction(atOnce);
    const back = new Direction(() => this.weather.delayMs);
    caller.data = { away, back };
    this.#callers.add(caller);
    back.open(caller);
    const data = { away: back, back: away };
    const socket = {
      ...handlers,
      close: (server: Socket<Directions>) => server.data.away.end(),
      open: (server: Socket<Directions>) => away.open(server),
    };
    Bun.connect({ hostname: loopback, port: this.weather.target, data, socket }).catch(() => back.end());
  }
}
