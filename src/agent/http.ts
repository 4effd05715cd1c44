// Serves a few pages at one address: metrics and health. The socket is the
// runtime's own, opened in the namespace that the agent runs in. An address that
// cannot be had (another program has the port, an address that comes later) is
// said once and tried again: the mesh does not wait for its metrics.
import { unlink } from "../linux/file.ts";
import { printable } from "../net/printable.ts";
import type { Log } from "./log.ts";

export interface Page {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Uint8Array;
}

/** By path. */
export type Pages = Readonly<Record<string, () => Page | Promise<Page>>>;

export interface HttpOptions {
  readonly pages: Pages;
  readonly log: Log;
  /** Between two tries to have the address. */
  readonly retryMs: number;
}

/** Where an agent answers whoever can read its store, whatever its metrics' port is. */
export function agentSocket(stateDir: string): string {
  return `${stateDir}/agent.sock`;
}

/** Nobody sends us anything. */
const maxBodyBytes = 1024;
/** In characters. */
const maxSentenceLength = 4000;
const plainText = "text/plain; charset=utf-8";

export class HttpServer implements Disposable {
  #address = "off";
  #server: Bun.Server<undefined> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #problem: string | undefined;

  constructor(private readonly options: HttpOptions) {}

  /** "IP:PORT", "[IP]:PORT" or "off", as the setting `metricsAddress` has it, or a socket's path; the one before is given up. */
  listen(address: string): void {
    if (address === this.#address) return;
    this[Symbol.dispose]();
    this.#address = address;
    this.#problem = undefined;
    if (address !== "off") this.#open();
  }

  /** The port that is served, where one is. */
  get port(): number | undefined {
    return this.#server?.port;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#retry);
    this.#server?.stop(true);
    this.#server = undefined;
    this.#address = "off";
  }

  #open(): void {
    const { log, retryMs } = this.options;
    const address = this.#address;
    try {
      this.#server = this.#serve(address);
      if (!isPath(address)) log.info("metrics and health are served", { address: `http://${address}` });
    } catch (error) {
      const problem = explain(address, error);
      if (problem !== this.#problem) log.error(`${problem} It is tried again every ${retryMs / 1000} s.`);
      this.#problem = problem;
      this.#retry = setTimeout(() => this.#open(), retryMs);
    }
  }

  #serve(address: string): Bun.Server<undefined> {
    const common = {
      maxRequestBodySize: maxBodyBytes,
      // Without the page of a failed request's source code; but that alone makes the port one to be shared.
      development: false,
      fetch: async (request: Request) => toResponse(request.method, await this.#answer(request)),
    };
    if (isPath(address)) {
      // Of an agent that was killed: who has the store's lock is the only one.
      unlink(address);
      return Bun.serve({ ...common, unix: address });
    }
    const colon = address.lastIndexOf(":");
    return Bun.serve({
      ...common,
      hostname: address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"),
      port: Number(address.slice(colon + 1)),
      reusePort: false,
    });
  }

  async #answer({ method, url }: Request): Promise<Page> {
    const { pages, log } = this.options;
    // HTTP/1.0 has no Host, and the runtime makes no whole URL then.
    const path = URL.parse(url, "http://node")?.pathname ?? url;
    const page = pages[path];
    if (page === undefined)
      return plain(404, `There is no page ${path} here; there are ${Object.keys(pages).join(", ")}.`);
    if (method !== "GET" && method !== "HEAD") return plain(405, `${path} is only read: use GET.`);
    try {
      return await page();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      log.error(`a request for ${path} failed: ${message}`);
      return plain(500, message);
    }
  }
}

function isPath(address: string): boolean {
  return address.startsWith("/");
}

/** A sentence as a page. */
export function plain(status: number, sentence: string): Page {
  return { status, contentType: plainText, body: `${printable(sentence, maxSentenceLength)}\n` };
}

function toResponse(method: string, { status, contentType, body }: Page): Response {
  const headers = { "content-type": contentType, "cache-control": "no-store" };
  return new Response(method === "HEAD" ? null : body, { status, headers });
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
