// Sends requests to the Kubernetes API with the runtime's own fetch, which needs half of the memory of
// the Kubernetes client and supports idle watches. Every failure is a KubeError: a sentence, and the
// facts that decide when to try again.
import { KubeError } from "../kube/error.ts";
import { fieldManager } from "../kube/object.ts";
import { parseRetryAfter, statusError } from "../kube/watch.ts";
import { messageOf } from "../net/error.ts";
import type { KubeAccess } from "./credentials.ts";
import { LineSplitter } from "./line-splitter.ts";

export interface Credentials {
  /** Throws KubeError. */
  read(): Promise<KubeAccess>;
  forget(): void;
}

export interface KubeClientOptions {
  readonly userAgent: string;
  /** Time limit for a complete answer; a server under load may need more than ten seconds. */
  readonly requestMs: number;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
}

export type Query = Readonly<Record<string, string>>;

interface Request {
  readonly method: "GET" | "PATCH";
  readonly path: string;
  readonly query: Query;
  /** The requested part of the objects; absent for complete objects. */
  readonly part?: "metadata";
  readonly body?: unknown;
  /** Media type of the body. */
  readonly type?: string;
}

/** Matches errors of certificates, which may disappear when the files are read again. */
const isAboutCertificate = /CERT|ISSUER|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|SSL|TLS/;

/** Servers that do not support this answer with complete objects. */
const metadataType =
  "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json;q=0.9";

export class KubeClient {
  constructor(
    private readonly credentials: Credentials,
    private readonly options: KubeClientOptions,
  ) {}

  /** `part`: the requested part of the objects; a Node has many kilobytes, its metadata one. Throws KubeError. */
  get(path: string, query: Query, signal: AbortSignal, part?: "metadata"): Promise<unknown> {
    return this.#json({ method: "GET", path, query, ...(part === undefined ? {} : { part }) }, signal);
  }

  /** Applies the object (server-side apply) and takes over fields that other managers have set. Returns the resulting object. Throws KubeError. */
  apply(path: string, body: unknown, signal: AbortSignal): Promise<unknown> {
    // JSON is YAML.
    const type = "application/apply-patch+yaml";
    return this.#json({ method: "PATCH", path, query: { fieldManager, force: "true" }, body, type }, signal);
  }

  /** JSON patch (RFC 6902). Throws KubeError. */
  patch(path: string, operations: readonly object[], signal: AbortSignal): Promise<unknown> {
    const type = "application/json-patch+json";
    return this.#json({ method: "PATCH", path, query: { fieldManager }, body: operations, type }, signal);
  }

  /**
   * The lines of a watch, until the server ends it; resolves as soon as the server has agreed.
   * Throws KubeError, or the signal's reason if `signal` aborts.
   */
  async watch(path: string, query: Query, signal: AbortSignal): Promise<AsyncIterable<string>> {
    const request: Request = { method: "GET", path, query: { ...query, watch: "true" } };
    const response = await this.#send(request, signal, this.options.requestMs);
    return readLines(response, request, signal);
  }

  async #json(request: Request, signal: AbortSignal): Promise<unknown> {
    const { requestMs } = this.options;
    const response = await this.#send(request, AbortSignal.any([signal, AbortSignal.timeout(requestMs)]));
    try {
      return await response.json();
    } catch (error) {
      throw signal.aborted ? signal.reason : asKubeError(error, describe(request));
    }
  }

  /** If the server refuses the credentials, they are read again and the request is repeated once. */
  async #send(request: Request, signal: AbortSignal, headersMs?: number): Promise<Response> {
    try {
      return await this.#sendOnce(request, signal, headersMs);
    } catch (error) {
      if (!(error instanceof KubeError) || error.failure.status !== 401) throw error;
      this.credentials.forget();
      return this.#sendOnce(request, signal, headersMs);
    }
  }

  async #sendOnce(request: Request, signal: AbortSignal, headersMs?: number): Promise<Response> {
    const access = await this.credentials.read();
    const what = describe(request);
    // Only the beginning of a watch's answer has a time limit.
    using limit = timeLimit(signal, headersMs);
    let response: Response;
    try {
      response = await this.#fetch(access, request, limit.signal);
    } catch (error) {
      if (signal.aborted && (signal.reason as Error | undefined)?.name !== "TimeoutError")
        throw signal.reason;
      const failed = asKubeError(error, what, access.server);
      if (isAboutCertificate.test(codeOf(error))) this.credentials.forget();
      throw failed;
    }
    if (response.ok) return response;
    throw await this.#refusal(response, what);
  }

  #fetch(access: KubeAccess, request: Request, signal: AbortSignal): Promise<Response> {
    const { method, path, query, part, body, type } = request;
    const { server, headers, tls, proxy } = access;
    const text = new URLSearchParams(query).toString();
    return fetch(`${server}${path}${text === "" ? "" : `?${text}`}`, {
      method,
      headers: {
        Accept: part === "metadata" ? metadataType : "application/json",
        "User-Agent": this.options.userAgent,
        ...(type === undefined ? {} : { "Content-Type": type }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(proxy === undefined ? {} : { proxy }),
      // Bun reuses connections by server only, so one with an old certificate would stay in use.
      keepalive: false,
      // A token must not follow a redirect to another server.
      redirect: "error",
      signal,
      tls,
      // Bun's own limit ends a watch that is idle.
      timeout: false,
    } as RequestInit);
  }

  async #refusal(response: Response, what: string): Promise<KubeError> {
    const { status, headers } = response;
    const retryAfterMs = parseRetryAfter(headers.get("Retry-After"), this.options.wallClock());
    const json = await response.json().catch(() => ({}));
    return statusError(json, `The Kubernetes API refused to ${what}`, {
      status,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }
}

async function* readLines(response: Response, request: Request, signal: AbortSignal): AsyncGenerator<string> {
  const lines = new LineSplitter();
  try {
    for await (const chunk of response.body ?? []) yield* lines.split(chunk);
  } catch (error) {
    throw signal.aborted ? signal.reason : asKubeError(error, describe(request));
  }
}

function describe({ method, path, query }: Request): string {
  if (method === "PATCH") return `write ${path}`;
  return `${query["watch"] === "true" ? "watch" : "read"} ${path}`;
}

function asKubeError(error: unknown, what: string, server?: string): KubeError {
  if (error instanceof KubeError) return error;
  const name = (error as Error | undefined)?.name;
  const at = server === undefined ? "" : ` at ${server}`;
  const reason = name === "TimeoutError" ? "there was no answer in time" : reasonOf(error);
  return new KubeError(`Cannot ${what} of the Kubernetes API${at}: ${reason}`, {}, { cause: error });
}

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  const message = messageOf(error);
  return code === "" || message.includes(code) ? message : `${message} (${code})`;
}

function codeOf(error: unknown): string {
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  return typeof code === "string" ? code : "";
}

interface TimeLimit extends Disposable {
  readonly signal: AbortSignal;
}

/** A signal that also ends `ms` from now, unless it is disposed of before. */
function timeLimit(signal: AbortSignal, ms: number | undefined): TimeLimit {
  if (ms === undefined) return { signal, [Symbol.dispose]: () => {} };
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new DOMException("there was no answer in time", "TimeoutError")),
    ms,
  );
  return { signal: AbortSignal.any([signal, late.signal]), [Symbol.dispose]: () => clearTimeout(timer) };
}
