// Serves metrics and health at one address. The socket is opened in the agent's network namespace. If
// the address cannot be bound (another program has the port, or the address appears later), the
// problem is logged once and binding is retried; the mesh does not wait for its metrics.
// http-listener.ts bounds the connections.
import { unlink } from "../linux/file.ts";
import { messageOf } from "../net/error.ts";
import { printable } from "../net/printable.ts";
import { Spacing } from "../net/spacing.ts";
import type { ReadRequest } from "../wire/http.ts";
import { type Bounds, defaultBounds, HttpListener, type Page } from "./http-listener.ts";
import type { Log } from "./log.ts";
import { type Problem, ProblemLog } from "./problem-log.ts";

/** By path. */
export type Pages = Readonly<Record<string, () => Page | Promise<Page>>>;

export interface HttpOptions {
  readonly pages: Pages;
  readonly log: Log;
  /** Time between two attempts to bind the address. */
  readonly retryMs: number;
  /** Bounds of connections; tests set their own. */
  readonly bounds?: Bounds;
}

/** Path of the socket at which an agent answers local probes, independent of the metrics' port. */
export function agentSocket(stateDir: string): string {
  return `${stateDir}/agent.sock`;
}

/** Time between two log lines about too many connections. */
const floodSpacingMs = 60_000;
/** Bounds the shown part of an unknown path. */
const maxShownPath = 100;
/** The longest sentence of an answer, in characters. */
const maxSentenceLength = 4000;
const plainText = "text/plain; charset=utf-8";

export class HttpServer implements Disposable {
  #address = "off";
  #listener: HttpListener | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #floodLines = new Spacing(floodSpacingMs);
  /** Frequent requests must not fill the log. */
  readonly #problems: ProblemLog;

  constructor(private readonly options: HttpOptions) {
    this.#problems = new ProblemLog(options.log);
  }

  /** "IP:PORT", "[IP]:PORT" or "off", as the setting `metricsAddress` has it, or a socket's path; the one before is given up. */
  listen(address: string): void {
    if (address === this.#address) return;
    this[Symbol.dispose]();
    this.#address = address;
    this.#problems.forget();
    if (address !== "off") this.#open();
  }

  /** The served port; undefined if there is none. */
  get port(): number | undefined {
    return this.#listener?.port;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#retry);
    this.#listener?.[Symbol.dispose]();
    this.#listener = undefined;
    this.#address = "off";
  }

  #open(): void {
    const { log } = this.options;
    const address = this.#address;
    try {
      this.#listener = this.#serve(address);
      this.#problems.reportOnChange("address", undefined);
      if (!isPath(address)) log.info("metrics and health are served", { address: `http://${address}` });
    } catch (error) {
      this.#openLater(error);
    }
  }

  #openLater(error: unknown): void {
    const { retryMs } = this.options;
    const problem = explain(this.#address, error);
    this.#problems.reportOnChange("address", {
      level: "error",
      message: `${problem} It is tried again every ${retryMs / 1000} s.`,
      name: `nothing is served at ${this.#address}`,
    });
    this.#retry = setTimeout(() => this.#open(), retryMs);
  }

  #serve(address: string): HttpListener {
    const { bounds = defaultBounds } = this.options;
    const common = {
      bounds,
      answer: (request: Exclude<ReadRequest, "more">) => this.#answer(request),
      onFlood: () => this.#reportFlood(),
      onLoss: (error: unknown) => {
        this.#listener?.[Symbol.dispose]();
        this.#openLater(error);
      },
    };
    if (isPath(address)) {
      // The file is left by an agent that was killed; the store's lock proves that no other agent runs.
      unlink(address);
      return new HttpListener({ ...common, address });
    }
    const colon = address.lastIndexOf(":");
    const hostname = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
    return new HttpListener({ ...common, address: { hostname, port: Number(address.slice(colon + 1)) } });
  }

  #reportFlood(): void {
    if (this.#floodLines.take(performance.now()) > 0) return;
    this.options.log.warn("connections to the metrics' port exceed the limit of one second", {
      address: this.#address,
    });
  }

  async #answer(request: Exclude<ReadRequest, "more">): Promise<Page> {
    const { pages } = this.options;
    if (request === "malformed") return plain(400, "This is no request for a page.");
    const { method, path } = request;
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (page === undefined)
      return plain(
        404,
        `There is no page ${path.slice(0, maxShownPath)} here; there are ${Object.keys(pages).join(", ")}.`,
      );
    if (method !== "GET" && method !== "HEAD") return plain(405, `${path} is only read: use GET.`);
    try {
      const made = await page();
      this.#problems.reportOnChange(`page ${path}`, undefined);
      return made;
    } catch (error) {
      const message = messageOf(error);
      const problem: Problem = { level: "error", message: `a request for ${path} failed: ${message}` };
      this.#problems.reportOnChange(`page ${path}`, problem);
      return plain(500, message);
    }
  }
}

function isPath(address: string): boolean {
  return address.startsWith("/");
}

/** Formats a sentence as a page. */
export function plain(status: number, sentence: string): Page {
  return { status, contentType: plainText, body: `${printable(sentence, maxSentenceLength)}\n` };
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EADDRNOTAVAIL: "this node does not have that address",
  EACCES: "the port needs a right that the agent does not have",
};

function explain(address: string, error: unknown): string {
  const { code = "", message } = error as { readonly code?: string; readonly message: string };
  if (isPath(address)) return `Cannot be asked at ${address}, by probes for one: ${message}.`;
  const why = reasons[code] === undefined ? message : `${reasons[code]} (${code})`;
  return `Cannot serve metrics and health at ${address}: ${why}. Choose another address with \`wg-cni up --metrics-address IP:PORT\`, or "off".`;
}
