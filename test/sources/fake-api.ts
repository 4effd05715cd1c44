// A small API server for the faults that a real one cannot be made to show: real
// HTTPS, lists in pages, watches from a version on, server-side apply; and at any
// point a test says what goes wrong. How a sound server behaves is test/cluster's.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makePki, type Pki } from "../cluster/support/pki.ts";
import { isSelected, type Labels } from "../conf/selector.ts";
import { ownerOf } from "../kube/objects.ts";
import { waitUntil } from "../lab/wait.ts";

interface ApiObject {
  readonly metadata: {
    readonly name: string;
    readonly resourceVersion: string;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

/** An object as somebody writes it. */
interface ApiInput {
  readonly metadata: { readonly name: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly token: string;
}

/** Answers in the server's place, and returns true; or lets it answer, and returns false. */
export type Fault = (seen: Seen, response: ServerResponse) => boolean | Promise<boolean>;

type EventType = "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";

const nodes = "/api/v1/nodes";
const records = "/apis/wg-cni.dev/v1alpha1/wireguardnodes";

export class FakeApi implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "wg-cni-api-"));
  readonly #objects = new Map<string, ApiObject>();
  readonly #events: { readonly version: number; readonly key: string; readonly line: string }[] = [];
  readonly #watches = new Set<Watch>();
  #server: Server | undefined;
  #port = 0;
  #version = 100;
  #pki: Pki;
  #made = 0;
  /** All requests so far. */
  readonly seen: Seen[] = [];
  /** The present fault. */
  fault: Fault = () => false;
  token = "token-1";
  /** Changes are not sent to watches. */
  isLate = false;
  /** Versions up to this one are forgotten: a watch from there is told 410. */
  compactedTo = 0;

  private constructor() {
    this.#pki = makePki(join(this.#directory, "pki-0"), ["IP:127.0.0.1"]);
  }

  static async start(): Promise<FakeApi> {
    const api = new FakeApi();
    await api.up();
    api.writeKubeconfig();
    return api;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** On the port that it had before. */
  async up(): Promise<void> {
    const { directory } = this.#pki;
    const read = (name: string) => readFileSync(join(directory, name));
    const server = createServer(
      { cert: read("server.crt"), key: read("server.key") },
      (request, response) => {
        void this.#answer(request, response);
      },
    );
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Every connection breaks, and none is taken any more. */
  async down(): Promise<void> {
    for (const watch of this.#watches) watch.cut();
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    let isClosed = false;
    server.close(() => {
      isClosed = true;
    });
    // Again and again: one that is still in its handshake is no connection yet.
    const close = () => {
      server.closeAllConnections();
      return isClosed;
    };
    await waitUntil(close, { what: "the end of all connections" });
  }

  get kubeconfig(): string {
    return join(this.#directory, "kubeconfig.json");
  }

  get tokenFile(): string {
    return join(this.#directory, "token");
  }

  get caFile(): string {
    return join(this.#directory, "ca.crt");
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** The token in a file, as a pod has it; `change` is of the user. */
  writeKubeconfig(user: object = this.#fileUser): void {
    writeFileSync(this.tokenFile, `${this.token}\n`);
    writeFileSync(this.caFile, this.#pki.ca);
    writeFileSync(
      this.kubeconfig,
      JSON.stringify({
        ...{ apiVersion: "v1", kind: "Config", "current-context": "here" },
        clusters: [{ name: "fake", cluster: { server: this.url, "certificate-authority": this.caFile } }],
        users: [{ name: "agent", user }],
        contexts: [{ name: "here", context: { cluster: "fake", user: "agent" } }],
      }),
    );
  }

  get #fileUser(): object {
    return { "auth-provider": { name: "tokenFile", config: { tokenFile: this.tokenFile } } };
  }

  /** Another authority and another certificate from the next `up` on; the file says so at once, with the old one beside it if told. */
  exchangeAuthority(): void {
    const before = this.#pki.ca;
    this.#pki = makePki(join(this.#directory, `pki-${++this.#made}`), ["IP:127.0.0.1"]);
    writeFileSync(this.caFile, `${before}${this.#pki.ca}`);
  }

  /** Makes or changes an object, and tells those who watch. */
  put(path: string, object: ApiInput): ApiObject {
    const { name } = object.metadata;
    const key = `${path}/${name}`;
    const before = this.#objects.get(key);
    const createdAt = new Date(Date.UTC(2026, 0, 1, 0, 0, this.#version % 60))
      .toISOString()
      .replace(".000", "");
    const metadata = {
      creationTimestamp: before?.metadata["creationTimestamp"] ?? createdAt,
      ...object.metadata,
      resourceVersion: String(++this.#version),
    };
    const after = { ...object, metadata };
    this.#objects.set(key, after);
    this.#tell(before === undefined ? "ADDED" : "MODIFIED", key, after);
    return after;
  }

  putNode(node: ApiInput): void {
    this.put(nodes, node);
  }

  /** A record of a node whose Node is there; made if it is missing. */
  putRecord(object: ApiInput): void {
    const owner = ownerOf(object);
    if (owner !== undefined && !this.#objects.has(`${nodes}/${owner.metadata.name}`)) this.putNode(owner);
    this.put(records, object);
  }

  remove(path: string, name: string): void {
    const key = `${path}/${name}`;
    const before = this.#objects.get(key);
    if (before === undefined) throw new Error(`there is no ${key}`);
    this.#objects.delete(key);
    const metadata = { ...before.metadata, resourceVersion: String(++this.#version) };
    this.#tell("DELETED", key, { ...before, metadata });
  }

  removeRecord(name: string): void {
    this.remove(records, name);
  }

  removeNode(name: string): void {
    this.remove(nodes, name);
  }

  record(name: string): ApiObject | undefined {
    return this.#objects.get(`${records}/${name}`);
  }

  /** By its whole path. */
  object(path: string): ApiObject | undefined {
    return this.#objects.get(path);
  }

  /** As a server that was restored from an old copy: what was written since has never been. */
  restore(version: number): void {
    this.#objects.clear();
    this.#events.length = 0;
    this.#version = version;
    for (const watch of this.#watches) watch.cut();
  }

  /** The watches of records that are open now. */
  get watches(): Watch[] {
    return [...this.#watches].filter(({ path }) => path === records);
  }

  /** One that was not open before. */
  async nextWatch(before: readonly Watch[] = []): Promise<Watch> {
    const what = "a new watch of the records";
    return (await waitUntil(() => this.watches.find((watch) => !before.includes(watch)), { what })) as Watch;
  }

  /** Requests of a kind so far. */
  count(kind: "list" | "watch" | "apply"): number {
    return this.seen.filter((one) => one.path.startsWith(records) && kindOf(one) === kind).length;
  }

  get version(): number {
    return this.#version;
  }

  /** As where much else has been written meanwhile. */
  advance(version: number): void {
    this.#version = version;
  }

  #tell(type: EventType, key: string, object: unknown): void {
    const line = JSON.stringify({ type, object });
    this.#events.push({ version: this.#version, key, line });
    if (this.isLate) return;
    for (const watch of this.#watches) if (watch.isAbout(key)) watch.send(line);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.url);
    const token = (request.headers.authorization ?? "").replace("Bearer ", "");
    const seen = { method: request.method ?? "", path: url.pathname, query: url.searchParams, token };
    this.seen.push(seen);
    const body = await bodyOf(request);
    if (await this.fault(seen, response)) return;
    if (token !== this.token) refuse(response, 401, "Unauthorized", "Unauthorized");
    else if (seen.method === "PATCH") this.#apply(seen, body, response);
    else if (seen.query.get("watch") === "true") this.#watch(seen, response);
    else this.#list(seen, response);
  }

  #apply({ path }: Seen, body: string, response: ServerResponse): void {
    const isStatus = path.endsWith("/status");
    const key = isStatus ? path.slice(0, -"/status".length) : path;
    const before = this.#objects.get(key);
    const { status, ...rest } = JSON.parse(body) as ApiInput & { readonly status?: unknown };
    const after = isStatus ? { ...before, status } : { ...rest, status: before?.["status"] };
    send(response, 200, this.put(key.slice(0, key.lastIndexOf("/")), { metadata: rest.metadata, ...after }));
  }

  #list({ path, query }: Seen, response: ServerResponse): void {
    const names = query.get("fieldSelector")?.replace("metadata.name=", "");
    const labels = query.get("labelSelector");
    const all = [...this.#objects].filter(
      ([key, { metadata }]) =>
        key.startsWith(`${path}/`) &&
        (names === undefined || key === `${path}/${names}`) &&
        (labels === null || isSelected(metadata["labels"] as Labels, labels)),
    );
    const from = Number(query.get("continue") ?? 0);
    const limit = Number(query.get("limit") ?? 500);
    const next = from + limit < all.length ? { continue: String(from + limit) } : {};
    send(response, 200, {
      metadata: { resourceVersion: String(this.#version), ...next },
      items: all.slice(from, from + limit).map(([, object]) => object),
    });
  }

  #watch(seen: Seen, response: ServerResponse): void {
    const version = Number(seen.query.get("resourceVersion"));
    if (version > this.#version) {
      const details = { causes: [{ reason: "ResourceVersionTooLarge" }] };
      refuse(response, 504, "Timeout", "Too large resource version", { details });
      return;
    }
    const watch = new Watch(seen, response, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    if (version < this.compactedTo) {
      watch.fail(410, "Expired", `too old resource version: ${version} (${this.compactedTo})`);
      return;
    }
    for (const event of this.#events)
      if (event.version > version && watch.isAbout(event.key)) watch.send(event.line);
  }
}

/** A watch, as the server has it. */
export class Watch {
  readonly path: string;
  /** The version it began at. */
  readonly from: string;
  readonly query: URLSearchParams;

  constructor(
    { path, query }: Seen,
    private readonly response: ServerResponse,
    private readonly onEnd: () => void,
  ) {
    response.on("close", onEnd);
    this.path = path;
    this.query = query;
    this.from = query.get("resourceVersion") ?? "";
    response.writeHead(200, { "Content-Type": "application/json" });
    response.flushHeaders();
  }

  isAbout(key: string): boolean {
    const name = this.query.get("fieldSelector")?.replace("metadata.name=", "");
    return name === undefined ? key.startsWith(`${this.path}/`) : key === `${this.path}/${name}`;
  }

  /** A line, whole. */
  send(line: string): void {
    this.response.write(`${line}\n`);
  }

  /** Any text, also part of a line. */
  sendText(text: string): void {
    this.response.write(text);
  }

  bookmark(version: number): void {
    const object = { kind: "WireGuardNode", metadata: { resourceVersion: String(version) } };
    this.send(JSON.stringify({ type: "BOOKMARK", object }));
  }

  fail(code: number, reason: string, message: string): void {
    this.send(JSON.stringify({ type: "ERROR", object: { kind: "Status", code, reason, message } }));
    this.end();
  }

  /** As a server does when the time of a watch is over. */
  end(): void {
    this.onEnd();
    this.response.end();
  }

  /** As a server that is killed does. */
  cut(): void {
    this.onEnd();
    this.response.destroy();
  }
}

export function refuse(
  response: ServerResponse,
  code: number,
  reason: string,
  message: string,
  more: { readonly headers?: Record<string, string>; readonly details?: object } = {},
): void {
  const { headers = {}, details } = more;
  send(response, code, { kind: "Status", status: "Failure", code, reason, message, details }, headers);
}

export function kindOf({ method, query }: Seen): "list" | "watch" | "apply" {
  if (method === "PATCH") return "apply";
  return query.get("watch") === "true" ? "watch" : "list";
}

function send(
  response: ServerResponse,
  status: number,
  json: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(json));
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}
