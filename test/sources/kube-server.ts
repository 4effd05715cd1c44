// A store, a KubeSource and a fake API between them, for tests. Looks are made by
// the test; waits of the product are a hundredth of what they are, and bounded here.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WatchTiming } from "../../src/kubeclient/reflector.ts";
import type { NodeRecord } from "../../src/net/record.ts";
import { KubeSource, keepAsImported, noCluster } from "../../src/sources/kube/source.ts";
import type { Publication } from "../../src/sources/record-source.ts";
import { RejectedRecords } from "../../src/sources/rejected-records.ts";
import { SourceSetting } from "../../src/sources/source-setting.ts";
import { Store } from "../../src/state/store.ts";
import { Log } from "../../src/telemetry/log.ts";
import { nodeOf } from "../kube/objects.ts";
import { waitUntil } from "../lab/wait.ts";
import { Alarms } from "./alarms.ts";
import { own } from "./directory/directory.ts";
import type { FakeApi } from "./fake-api.ts";

export const timing: WatchTiming = {
  ...{ watchMs: 60_000, idleMs: 60_000, sustainedMs: 100, notFoundMs: 6000 },
  retries: { firstMs: 20, longestMs: 200 },
};

export class KubeNode implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), "wg-cni-kube-"));
  readonly store = Store.open(join(this.#root, "state"), "boot");
  readonly lines: string[] = [];
  readonly setting: SourceSetting<KubeSource>;
  readonly #alarms = new Alarms(() => this.changes++);
  /** Added to the clock by which the product decides. */
  skippedMs = 0;
  /** How often something was said to have changed. */
  changes = 0;

  constructor(
    readonly api: FakeApi,
    private readonly change: Partial<WatchTiming> = {},
    private readonly record: NodeRecord = own,
  ) {
    const log = new Log({
      ...{ format: "text", level: "debug", now: () => "" },
      write: (line) => this.lines.push(line.trim()),
    });
    const now = () => performance.now() + this.skippedMs;
    this.setting = new SourceSetting(this.store, {
      ...{ name: "kube", log, now, rejected: new RejectedRecords(this.store) },
      onOff: () => keepAsImported(this.store),
      make: (kubeconfig, ownName) =>
        new KubeSource(kubeconfig, ownName, {
          ...{ log, now, version: "0.0.0", wallClock: Date.now, random: () => 0.5 },
          onChange: () => {
            this.changes++;
          },
          timing: { ...timing, ...this.change },
        }),
    });
  }

  [Symbol.dispose](): void {
    this.setting[Symbol.dispose]();
    this.#alarms[Symbol.dispose]();
    this.store[Symbol.dispose]();
    rmSync(this.#root, { recursive: true, force: true });
  }

  look(place = this.api.kubeconfig) {
    this.#alarms.set("records", this.setting.ingest(place, this.record.name));
    return this.setting.current?.source.cluster ?? noCluster;
  }

  get source(): KubeSource {
    const { current } = this.setting;
    if (current === undefined) throw new Error("there is no kubeconfig");
    return current.source;
  }

  publish(record: NodeRecord = this.record): Publication {
    const publication = this.setting.publish(record);
    this.#alarms.set("publishing", publication.wakeInMs);
    return publication;
  }

  /** Looks, as the agent would, until something is so. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    await waitUntil(
      () => {
        this.look();
        return isSo();
      },
      { what: () => `${what}; peers ${JSON.stringify(this.peers)}, log ${this.lines.slice(-5).join(" | ")}` },
    );
  }

  /** Until the record is there; the Node is made if it is missing. */
  async published(record: NodeRecord = this.record): Promise<void> {
    await this.until(`${record.name} is published`, () => this.publish(record).done);
  }

  /** By name, with where they came from. */
  get peers(): Record<string, string> {
    return Object.fromEntries(this.store.peers().map(({ record, source }) => [record.name, source]));
  }

  get names(): string {
    return Object.keys(this.peers).join(" ");
  }

  peer(name: string): NodeRecord | undefined {
    return this.store.peers().find(({ record }) => record.name === name)?.record;
  }

  /** By file. */
  get refused(): Record<string, string> {
    return Object.fromEntries(this.store.rejectedRecords().map(({ file, reason }) => [file, reason]));
  }
}

/** The Node of the record that tests publish. */
export const ownNode = nodeOf(own.name, { addresses: own.nodeIPs.map((ip) => ["InternalIP", ip] as const) });
