// A directory of records, a store and a DirectorySource between them, for tests: real
// files, a clock that the test moves, log lines kept.

import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeRecord } from "../../../src/net/record.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { toClaimingPeer } from "../../../src/reconcile/node-reader.ts";
import { DirectorySource } from "../../../src/sources/directory/source.ts";
import type { Publication, RecordSnapshot } from "../../../src/sources/record-source.ts";
import { RejectedRecords } from "../../../src/sources/rejected-records.ts";
import { SourceSetting } from "../../../src/sources/source-setting.ts";
import { Store } from "../../../src/state/store.ts";
import { Log } from "../../../src/telemetry/log.ts";
import { Alarms } from "../alarms.ts";

/** The node that the directory is read by. */
export const own: NodeRecord = {
  name: "node-0",
  slots: [{ slot: "a", publicKey: keyOf(250), port: 51820, state: "active" }],
  endpoints: ["192.0.2.100"],
  nodeIPs: ["192.0.2.100", "2001:db8::100"],
  podCIDRs: ["10.200.0.0/24", "fd00:200::/64"],
};

export function keyOf(n: number): string {
  const bytes = Buffer.alloc(32, 7);
  bytes.writeUInt32BE(n);
  return bytes.toString("base64");
}

/** The record of node-N, which shares nothing with any other's. */
export function recordOf(n: number, change: Partial<NodeRecord> = {}): NodeRecord {
  return {
    name: `node-${n}`,
    slots: [
      { slot: "a", publicKey: keyOf(1000 + 2 * n), port: 51820, state: "active" },
      { slot: "b", publicKey: keyOf(1001 + 2 * n), port: 51821, state: "active" },
    ],
    endpoints: [`198.18.${n >> 8}.${n & 255}`],
    nodeIPs: [`198.18.${n >> 8}.${n & 255}`],
    podCIDRs: [`10.${n >> 8}.${n & 255}.0/24`],
    ...change,
  };
}

export class Directory implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), "wg-cni-records-"));
  readonly path = join(this.#root, "records");
  readonly store = Store.open(join(this.#root, "state"), "boot");
  readonly lines: string[] = [];
  readonly setting: SourceSetting<DirectorySource>;
  readonly #alarms = new Alarms(() => this.changes++);
  #snapshot: RecordSnapshot | undefined;
  nowMs = 0;
  /** How often something was said to have changed. */
  changes = 0;

  constructor() {
    mkdirSync(this.path);
    const log = new Log({
      ...{ format: "text", level: "debug", now: () => "" },
      write: (line) => this.lines.push(line.trim()),
    });
    const now = () => this.nowMs;
    const onChange = () => {
      this.changes++;
    };
    this.setting = new SourceSetting(this.store, {
      ...{ name: "directory", log, now, rejected: new RejectedRecords(this.store) },
      make: (directory, ownName) => {
        const source = new DirectorySource(directory, ownName, {
          ...{ log, now, onChange, peers: () => new Set(Object.keys(this.peers)) },
        });
        const read = source.snapshot.bind(source);
        source.snapshot = () => {
          this.#snapshot = read();
          return this.#snapshot;
        };
        return source;
      },
    });
  }

  [Symbol.dispose](): void {
    this.setting[Symbol.dispose]();
    this.#alarms[Symbol.dispose]();
    this.store[Symbol.dispose]();
    rmSync(this.#root, { recursive: true, force: true });
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** As nodes do: whole, from one moment to the next. */
  put(...records: readonly NodeRecord[]): void {
    for (const record of records) {
      writeFileSync(this.file(".new.tmp"), JSON.stringify(record));
      renameSync(this.file(".new.tmp"), this.file(`${record.name}.json`));
    }
  }

  /** Returns the numbers of accepted and rejected records, and the problem of the whole directory. */
  look(path = this.path): { records: number; rejected: number; problem?: string } {
    this.#alarms.set("records", this.setting.ingest(path, own.name));
    const entries = path === "" ? [] : [...(this.#snapshot?.entries.values() ?? [])];
    const count = (state: string) => entries.filter((entry) => entry.state === state).length;
    const problem = this.refused[path];
    return {
      ...{ records: count("valid"), rejected: count("rejected") },
      ...(problem === undefined ? {} : { problem }),
    };
  }

  publish(record: NodeRecord = own): Publication {
    return this.setting.publish(record);
  }

  /** By name, with where they came from. */
  get peers(): Record<string, string> {
    return Object.fromEntries(this.store.peers().map(({ record, source }) => [record.name, source]));
  }

  peer(name: string): NodeRecord | undefined {
    return this.store.peers().find(({ record }) => record.name === name)?.record;
  }

  /** By file. */
  get refused(): Record<string, string> {
    return Object.fromEntries(this.store.rejectedRecords().map(({ file, reason }) => [file, reason]));
  }

  /** Resolves all claims as this node does. */
  resolve() {
    const publicKeys = own.slots.map(({ publicKey }) => publicKey);
    return resolveClaims({ ...own, publicKeys }, this.store.peers().map(toClaimingPeer));
  }
}
