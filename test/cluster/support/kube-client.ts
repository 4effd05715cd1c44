// The witness of the cluster tests: plain requests to an API server, with a
// client certificate or a token. Shares nothing with the product's client.

export interface Credentials {
  /** Certificate of the authority, PEM. */
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  // biome-ignore lint/suspicious/noExplicitAny: objects of any kind, whose fields the tests look at
  readonly [field: string]: any;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly [field: string]: any;
}

export interface ApplyOptions {
  /** "wg-cni" unless told. */
  readonly manager?: string;
  /** Fields of other managers are taken over; true unless told. */
  readonly force?: boolean;
  /** The handling of fields that the server does not know: "Strict", "Warn" or "Ignore". */
  readonly fieldValidation?: string;
  /** The server checks the request, admission included, and writes nothing. */
  readonly dryRun?: boolean;
}

/** The server's refusal, in its words. */
export class KubeRefusal extends Error {
  override readonly name = "KubeRefusal";
  constructor(
    what: string,
    readonly status: number,
    /** "Forbidden", "Invalid", "NotFound", ... */
    readonly reason: string,
    message: string,
  ) {
    super(`${what}: ${status} ${reason}: ${message}`);
  }
}

const timeoutMs = 30_000;

export class KubeClient {
  constructor(
    readonly url: string,
    public credentials: Credentials,
    /** True if no other client of this process has other credentials: connections are shared. */
    private readonly keepsConnections = false,
  ) {}

  /** Any request; the answer as it comes, whatever its status. */
  send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const { ca, cert, key, token } = this.credentials;
    return fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      tls: { ca, ...(cert === undefined || key === undefined ? {} : { cert, key }) },
      // A connection that another client has made would carry that one's certificate.
      keepalive: this.keepsConnections,
      signal: AbortSignal.timeout(timeoutMs),
    });
  }

  get(path: string): Promise<KubeObject> {
    return this.#ask("GET", path);
  }

  /** Undefined if there is none. Throws KubeRefusal. */
  async find(path: string): Promise<KubeObject | undefined> {
    try {
      return await this.get(path);
    } catch (error) {
      if (error instanceof KubeRefusal && error.status === 404) return undefined;
      throw error;
    }
  }

  create(path: string, object: unknown): Promise<KubeObject> {
    return this.#ask("POST", path, object);
  }

  replace(path: string, object: unknown): Promise<KubeObject> {
    return this.#ask("PUT", path, object);
  }

  /** Server-side apply. Throws KubeRefusal. */
  apply(path: string, object: unknown, options: ApplyOptions = {}): Promise<KubeObject> {
    const { manager = "wg-cni", force = true, fieldValidation, dryRun = false } = options;
    const query = new URLSearchParams({ fieldManager: manager, force: `${force}` });
    if (fieldValidation !== undefined) query.set("fieldValidation", fieldValidation);
    if (dryRun) query.set("dryRun", "All");
    return this.#ask("PATCH", `${path}?${query}`, object, "application/apply-patch+yaml");
  }

  /** Sends a JSON merge patch. Throws KubeRefusal. */
  patch(
    path: string,
    change: unknown,
    { dryRun = false }: Pick<ApplyOptions, "dryRun"> = {},
  ): Promise<KubeObject> {
    const query = dryRun ? "?dryRun=All" : "";
    return this.#ask("PATCH", `${path}${query}`, change, "application/merge-patch+json");
  }

  remove(path: string): Promise<KubeObject> {
    return this.#ask("DELETE", path);
  }

  async #ask(method: string, path: string, body?: unknown, type?: string): Promise<KubeObject> {
    const answer = await this.send(method, path, body, type === undefined ? {} : { "content-type": type });
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text) as KubeObject;
    const { reason = "", message = text } = parseStatus(text);
    throw new KubeRefusal(`${method} ${path}`, answer.status, reason, message);
  }
}

/** Most refusals are a Status object; those of the layers before it are text. */
function parseStatus(text: string): { readonly reason?: string; readonly message?: string } {
  try {
    return JSON.parse(text) as { readonly reason?: string; readonly message?: string };
  } catch {
    return {};
  }
}
