// Accepts connections for the agent's pages. Any host may open as many as it likes, so everything is
// bounded: accepted connections in a second, open connections for one address and in total, and the
// time of each. Connections beyond a bound are closed at once, so the agent's own work goes on.
import type { Socket, TCPSocketListener, UnixSocketListener } from "bun";
import { formatHead, type ReadRequest, readRequest } from "../wire/http.ts";

export interface Bounds {
  /** After so many in one second, none is accepted until the next second. Does not apply to a Unix socket. */
  readonly acceptsPerSecond: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** From the first packet to the whole head of the request. */
  readonly requestMs: number;
  /** To the end of the answer. */
  readonly totalMs: number;
}

export const defaultBounds: Bounds = {
  acceptsPerSecond: 100,
  connections: 128,
  connectionsPerAddress: 16,
  requestMs: 5000,
  totalMs: 30_000,
};

export interface ListenerOptions {
  /** A path, or host and port. */
  readonly address: string | { readonly hostname: string; readonly port: number };
  readonly bounds: Bounds;
  /** Must not throw. */
  readonly answer: (request: Exclude<ReadRequest, "more">) => Promise<Page>;
  /** Is called if more connections arrived than are accepted. */
  readonly onFlood: () => void;
  /** Is called if the address could not be bound again after a pause. */
  readonly onLoss: (error: unknown) => void;
}

/** One connection; `unsent` holds the bytes that the peer has not accepted yet. */
interface Connection {
  readonly source: string;
  received: Uint8Array;
  unsent: readonly Uint8Array[];
  isAnswered: boolean;
  deadline: ReturnType<typeof setTimeout>;
}

type Peer = Socket<Connection>;

const pauseMs = 1000;

export class HttpListener implements Disposable {
  readonly #open = new Set<Peer>();
  readonly #ofSource = new Map<string, number>();
  #listener: TCPSocketListener<Connection> | UnixSocketListener<Connection>;
  #resume: ReturnType<typeof setTimeout> | undefined;
  #accepted = 0;
  #secondEndsMs = 0;

  /** Throws the system's error. */
  constructor(private readonly options: ListenerOptions) {
    this.#listener = this.#listen(options.address);
  }

  /** Undefined for a path. */
  get port(): number | undefined {
    return "port" in this.#listener ? this.#listener.port : undefined;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#resume);
    this.#listener.stop(true);
    for (const peer of this.#open) peer.terminate();
  }

  #listen(
    address: ListenerOptions["address"],
  ): TCPSocketListener<Connection> | UnixSocketListener<Connection> {
    const socket = {
      open: (peer: Peer) => this.#accept(peer),
      data: (peer: Peer, bytes: Uint8Array) => this.#receive(peer, bytes),
      drain: (peer: Peer) => send(peer),
      close: (peer: Peer) => this.#forget(peer),
      error: (peer: Peer) => peer.terminate(),
    };
    return typeof address === "string"
      ? Bun.listen<Connection>({ unix: address, socket })
      : // Without `exclusive`, another process could share the port.
        Bun.listen<Connection>({ ...address, exclusive: true, socket });
  }

  #accept(peer: Peer): void {
    const { bounds } = this.options;
    const source = peer.remoteAddress ?? "";
    const deadline = setTimeout(() => peer.terminate(), bounds.requestMs);
    peer.data = { source, received: new Uint8Array(), unsent: [], isAnswered: false, deadline };
    const ofSource = this.#ofSource.get(source) ?? 0;
    this.#open.add(peer);
    this.#ofSource.set(source, ofSource + 1);
    this.#countAccept();
    if (ofSource >= bounds.connectionsPerAddress) peer.terminate();
    // The oldest connection is closed, so that idle ones do not block new ones.
    else if (this.#open.size > bounds.connections) this.#open.values().next().value?.terminate();
  }

  /** Within the loop that accepts: closing the listener ends it, whatever else is waiting there. */
  #countAccept(): void {
    const { address, bounds, onFlood } = this.options;
    const nowMs = performance.now();
    if (nowMs >= this.#secondEndsMs) {
      this.#secondEndsMs = nowMs + 1000;
      this.#accepted = 0;
    }
    if (typeof address === "string" || ++this.#accepted < bounds.acceptsPerSecond) return;
    if (this.#resume !== undefined) return;
    const { port } = this;
    this.#listener.stop();
    this.#resume = setTimeout(() => this.#goOn({ ...address, port: port ?? address.port }), pauseMs);
    onFlood();
  }

  #goOn(address: ListenerOptions["address"]): void {
    this.#resume = undefined;
    try {
      this.#listener = this.#listen(address);
    } catch (error) {
      this.options.onLoss(error);
    }
  }

  #receive(peer: Peer, bytes: Uint8Array): void {
    const connection = peer.data;
    if (connection.isAnswered) return;
    connection.received = Buffer.concat([connection.received, bytes]);
    const request = readRequest(connection.received);
    if (request === "more") return;
    connection.isAnswered = true;
    connection.received = new Uint8Array();
    clearTimeout(connection.deadline);
    connection.deadline = setTimeout(() => peer.terminate(), this.options.bounds.totalMs);
    void this.options.answer(request).then(({ status, contentType, body }) => {
      const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
      const isHead = request !== "malformed" && request.method === "HEAD";
      connection.unsent = [formatHead(status, contentType, bytes.length), ...(isHead ? [] : [bytes])];
      send(peer);
    });
  }

  #forget(peer: Peer): void {
    if (!this.#open.delete(peer)) return;
    const { source, deadline } = peer.data;
    clearTimeout(deadline);
    peer.data.unsent = [];
    const left = (this.#ofSource.get(source) ?? 1) - 1;
    if (left === 0) this.#ofSource.delete(source);
    else this.#ofSource.set(source, left);
  }
}

/** Sends as much as the peer accepts now, and the rest when it has room again. */
function send(peer: Peer): void {
  const connection = peer.data;
  while (connection.unsent.length > 0) {
    const [first, ...rest] = connection.unsent as [Uint8Array, ...Uint8Array[]];
    const sent = first.length === 0 ? 0 : peer.write(first);
    if (sent < 0) return;
    connection.unsent = sent === first.length ? rest : [first.subarray(sent), ...rest];
    if (sent < first.length) return;
  }
  if (connection.isAnswered) peer.end();
}

export interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Uint8Array;
}
