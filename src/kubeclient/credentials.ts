// Address and credentials of the Kubernetes API, from a pod's service account or a kubeconfig file,
// read by the Kubernetes client. Files are read again when they change, so tokens, certificates and
// authorities may be replaced at any time. Only this file loads the client, and only when it is
// needed, because it takes 20 MB.
import { statSync } from "node:fs";
import type { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { stampOf } from "../fswatch/stamp.ts";
import { KubeError } from "../kube/error.ts";
import { messageOf } from "../net/error.ts";

/** The setting `kubeconfig` for a pod's service account. */
export const inCluster = "in-cluster";

/** A kubeconfig with certificates has some KiB. */
const maxConfigBytes = 1024 * 1024;

/** A credential plugin (exec) may ask a remote server. */
const credentialsMs = 60_000;

export interface KubeAccess {
  /** "https://10.96.0.1:443", without a slash at the end. */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: KubeTls;
  readonly proxy?: string;
}

export interface KubeTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly serverName?: string;
  readonly rejectUnauthorized: boolean;
}

/** The part of https.RequestOptions into which the client puts the credentials. */
interface Applied {
  headers: Record<string, string>;
  ca?: Buffer;
  cert?: Buffer | string;
  key?: Buffer | string;
  servername?: string;
  rejectUnauthorized?: boolean;
  auth?: string;
}

export class KubeCredentials {
  #config: KubeConfig | undefined;
  #stamp = "";

  /** `kubeconfig`: "in-cluster" or the path of a kubeconfig file. */
  constructor(
    readonly kubeconfig: string,
    private readonly env: Readonly<Record<string, string | undefined>>,
  ) {}

  /** Reads the files that have changed. Throws KubeError that names what is missing. */
  async read(): Promise<KubeAccess> {
    const config = await this.#load();
    const cluster = config.getCurrentCluster();
    if (cluster === null || config.getCurrentUser() === null)
      throw new KubeError(
        `The kubeconfig ${this.kubeconfig} has no current context with a cluster and a user: choose one with \`kubectl config use-context\`.`,
      );
    if (!cluster.server.startsWith("https:"))
      throw new KubeError(
        `The server ${cluster.server} of ${this.kubeconfig} is not reached by https: any host on the way could send false keys.`,
      );
    const applied: Applied = { headers: {} };
    await this.#withContext(() => bounded(config.applyToHTTPSOptions(applied), credentialsMs));
    return {
      server: cluster.server.replace(/\/+$/, ""),
      headers: headersOf(applied),
      tls: tlsOf(applied),
      ...(cluster.proxyUrl ? { proxy: httpProxy(cluster.proxyUrl) } : {}),
    };
  }

  /** Is called when the API refused the credentials: the next read starts from the files. */
  forget(): void {
    this.#config = undefined;
  }

  async #load(): Promise<KubeConfig> {
    const stamp = this.kubeconfig === inCluster ? "" : stampOf(this.kubeconfig);
    if (this.#config !== undefined && stamp === this.#stamp) return this.#config;
    const { KubeConfig } = await import("@kubernetes/client-node/dist/config.js");
    const config = new KubeConfig();
    await this.#withContext(() => {
      if (this.kubeconfig !== inCluster) config.loadFromFile(regularFile(this.kubeconfig));
      else if (this.env["KUBERNETES_SERVICE_HOST"] && this.env["KUBERNETES_SERVICE_PORT"])
        config.loadFromCluster();
      else
        throw new KubeError(
          "This is no pod of a cluster (KUBERNETES_SERVICE_HOST is not set): give the path of a kubeconfig file with --kubeconfig.",
        );
    });
    this.#stamp = stamp;
    this.#config = config;
    return config;
  }

  /** Turns an error of the client into a sentence. */
  async #withContext<T>(read: () => T | Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (error instanceof KubeError) throw error;
      const what =
        this.kubeconfig === inCluster ? "the pod's service account" : `the kubeconfig ${this.kubeconfig}`;
      throw new KubeError(
        `Cannot get the credentials for the Kubernetes API from ${what}: ${shortMessage(error)}`,
        {},
        { cause: error },
      );
    }
  }
}

/** The client would block the agent on a pipe. */
function regularFile(path: string): string {
  const status = statSync(path);
  if (status.isFile() && status.size <= maxConfigBytes) return path;
  throw new KubeError(`The kubeconfig ${path} is no regular file of at most ${maxConfigBytes / 1024} KiB.`);
}

function headersOf({ headers, auth }: Applied): Record<string, string> {
  // A token file may end with a line break, which no header may have.
  const trimmed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.trim()]));
  return auth === undefined
    ? trimmed
    : { ...trimmed, Authorization: `Basic ${Buffer.from(auth).toString("base64")}` };
}

function tlsOf({ ca, cert, key, servername, rejectUnauthorized }: Applied): KubeTls {
  return {
    ...(ca === undefined ? {} : { ca: ca.toString() }),
    ...(cert === undefined ? {} : { cert: cert.toString() }),
    ...(key === undefined ? {} : { key: key.toString() }),
    ...(servername === undefined ? {} : { serverName: servername }),
    // The value is always set, so that the environment cannot switch verification off.
    rejectUnauthorized: rejectUnauthorized ?? true,
  };
}

function httpProxy(url: string): string {
  if (/^https?:/.test(url)) return url;
  throw new KubeError(`The proxy ${url} of the kubeconfig is not an HTTP proxy: others are not supported.`);
}

/** Bounds the time of a promise that may never resolve. */
async function bounded<T>(promise: Promise<T>, ms: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new KubeError(`There were no credentials within ${ms / 1000} s.`)),
    ms,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function shortMessage(error: unknown): string {
  const text = messageOf(error).trim();
  return text.length > 300 ? `${text.slice(0, 299)}…` : text;
}
