// The two places of records, for tests that hold for any source: a directory, and an API server. Each does
// in its own way what other nodes and faults do.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBootId } from "../../src/linux/boot.ts";
import type { NodeRecord } from "../../src/net/record.ts";
import { DirectorySource } from "../../src/sources/directory/source.ts";
import { KubeSource } from "../../src/sources/kube/source.ts";
import type { RecordSource } from "../../src/sources/record-source.ts";
import { Log } from "../../src/telemetry/log.ts";
import { own } from "./directory/directory.ts";
import { FakeApi, kindOf, refuse } from "./fake-api.ts";
import { withoutVersion } from "./kube-context.ts";
import { ownNode, timing } from "./kube-server.ts";

export interface SourceContext {
  readonly now: () => number;
  readonly onChange: () => void;
}

export const silent = new Log({ format: "text", level: "error", now: () => "", write: () => {} });

export interface Place extends AsyncDisposable {
  open(context: SourceContext): RecordSource;
  /** Another writer writes a node's record. */
  put(record: NodeRecord): void;
  putMalformed(name: string): void;
  remove(name: string): void;
  /** The place cannot be used until `restore`. */
  fail(): Promise<void> | void;
  restore(): Promise<void> | void;
  /** Writes of this node's record fail until `allowWrites`. */
  refuseWrites(): void;
  allowWrites(): void;
  /** This node's record as peers can read it. */
  published(): NodeRecord | undefined;
  /** Differs after each write of this node's record. */
  version(): string;
  /** False if a source has read or written here. */
  isUntouched(): boolean;
}

export function makeDirectory(): Place {
  const root = mkdtempSync(join(tmpdir(), "wg-cni-place-"));
  const path = join(root, "records");
  mkdirSync(path);
  const file = (name: string) => join(path, `${name}.json`);
  // A directory with the name of the temporary file.
  const obstacle = join(path, `.${own.name}.${readBootId()}.${process.pid}.tmp`);
  return {
    open: (context) =>
      new DirectorySource(path, own.name, { ...context, log: silent, peers: () => new Set<string>() }),
    put(record) {
      writeFileSync(join(path, ".new"), JSON.stringify(record));
      renameSync(join(path, ".new"), file(record.name));
    },
    putMalformed: (name) => writeFileSync(file(name), "{"),
    remove: (name) => unlinkSync(file(name)),
    fail: () => renameSync(path, `${path}.away`),
    restore: () => renameSync(`${path}.away`, path),
    refuseWrites: () => mkdirSync(obstacle),
    allowWrites: () => rmSync(obstacle, { recursive: true }),
    published: () =>
      existsSync(file(own.name))
        ? (JSON.parse(readFileSync(file(own.name), "utf8")) as NodeRecord)
        : undefined,
    version: () => {
      const stat = statSync(file(own.name), { bigint: true, throwIfNoEntry: false });
      return `${stat?.ino} ${stat?.mtimeNs}`;
    },
    isUntouched: () => !existsSync(file(own.name)),
    [Symbol.asyncDispose]: async () => rmSync(root, { recursive: true, force: true }),
  };
}

export async function makeApi(): Promise<Place> {
  const api = await FakeApi.start();
  api.putNode(ownNode);
  return {
    open: (context) =>
      new KubeSource(api.kubeconfig, own.name, {
        ...{ ...context, log: silent, version: "0.0.0", wallClock: Date.now, random: () => 0.5, timing },
      }),
    put: (record) => api.putRecord(withoutVersion(record)),
    putMalformed(name) {
      const spec = { slots: "none" };
      const ownerReferences = [{ apiVersion: "v1", kind: "Node", name, uid: `uid-${name}` }];
      api.putRecord({ metadata: { name, ownerReferences }, spec });
    },
    remove: (name) => api.removeRecord(name),
    fail: () => api.down(),
    restore: () => api.up(),
    refuseWrites() {
      api.fault = (seen, response) => {
        if (kindOf(seen) !== "apply") return false;
        refuse(response, 403, "Forbidden", "no");
        return true;
      };
    },
    allowWrites() {
      api.fault = () => false;
    },
    published() {
      const spec = api.record(own.name)?.["spec"];
      return spec === undefined ? undefined : ({ name: own.name, ...spec } as NodeRecord);
    },
    version: () => api.record(own.name)?.metadata.resourceVersion ?? "",
    isUntouched: () => api.seen.length === 0,
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  };
}
