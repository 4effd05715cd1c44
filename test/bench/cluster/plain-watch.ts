// A client that only watches records and notes when it has each prefix: what the API server alone needs for a change,
// which no agent can be faster than.
import { LineSplitter } from "../../../src/kubeclient/line-splitter.ts";
import type { KubeClient } from "../../cluster/support/kube-client.ts";
import { recordsPath } from "../../cluster/support/nodes.ts";

export class PlainWatch implements Disposable {
  readonly #atMs = new Map<string, number>();
  readonly #ended = new AbortController();

  /** Resolves once the server has agreed to the watch. */
  static async start(admin: KubeClient): Promise<PlainWatch> {
    const { metadata } = await admin.get(`${recordsPath}?limit=1`);
    const watch = new PlainWatch();
    const { ca, cert, key } = admin.credentials;
    const answer = await fetch(
      `${admin.url}${recordsPath}?watch=true&resourceVersion=${metadata.resourceVersion}`,
      {
        tls: { ca, ...(cert === undefined || key === undefined ? {} : { cert, key }) },
        ...{ keepalive: false, signal: watch.#ended.signal, timeout: false },
      },
    );
    if (!answer.ok) throw new Error(`The API server refuses a watch: ${answer.status}`);
    void watch.#read(answer).catch(() => undefined);
    return watch;
  }

  /** When the event with this prefix came, as performance.now() says it; undefined if it has not. */
  cameAt(cidr: string): number | undefined {
    return this.#atMs.get(cidr);
  }

  [Symbol.dispose](): void {
    this.#ended.abort();
  }

  async #read(answer: Response): Promise<void> {
    const lines = new LineSplitter();
    for await (const chunk of answer.body ?? []) {
      const nowMs = performance.now();
      for (const line of lines.split(chunk)) {
        const { object } = JSON.parse(line) as { readonly object: WatchedRecord };
        for (const cidr of object.spec?.podCIDRs ?? []) this.#atMs.set(cidr, this.#atMs.get(cidr) ?? nowMs);
      }
    }
  }
}

interface WatchedRecord {
  readonly spec?: { readonly podCIDRs?: readonly string[] };
}
