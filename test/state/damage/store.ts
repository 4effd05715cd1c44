// The store that is damaged: a node in strict mode with two versions of its identity, peers, pods, and an ADD
// that was killed. Parts of each are in the database and in its log.
import { Database } from "bun:sqlite";
import { readdirSync, readFileSync } from "node:fs";
import type { Identity } from "../../../src/state/model.ts";
import { Store } from "../../../src/state/store.ts";
import { key } from "../../plan/random.ts";
import { attachment, owner, peer } from "../samples.ts";
import type { Files } from "./damage.ts";

export const boot = "b1";
export const podCIDRs = ["10.1.0.0/24", "fd00::/120"];
/** The container whose ADD was killed: its leases are there, and its pod is not. */
export const killed = owner("killed");

export const formerIdentity = identity(1);
export const presentIdentity = identity(2);

function identity(version: number): Identity {
  return {
    name: "node-1",
    ...{ endpoints: ["192.0.2.1"], endpointsFound: true, nodeIPs: ["192.0.2.1"], nodeIPsFollow: true },
    podCIDRs,
    slots: (["a", "b"] as const).map((slot, i) => ({
      ...{ slot, createdAtMs: 1_700_000_000_000 + version, state: "active" as const },
      publicKey: key(10 * version + i),
      sealedPrivateKey: new Uint8Array(84).fill(10 * version + i),
      proof: new Uint8Array(64).fill(version).toBase64(),
    })),
    up: true,
  };
}

export const peerRecords = Array.from({ length: 45 }, (_, i) =>
  peer(`node-${i + 10}`, {
    slots: [{ slot: "a", publicKey: key(100 + i), port: 51820, state: "active" }],
    endpoints: [`192.0.2.${i + 10}`],
    nodeIPs: [`192.0.2.${i + 10}`],
    podCIDRs: [`10.1.${i + 1}.0/24`],
  }),
);

const pods = Array.from({ length: 200 }, (_, i) => ({
  ...attachment(owner(`c${i + 100}`), { role: "standalone", hostDev: `wgc${i}` }),
  ips: [`10.1.0.${i + 2}`, `fd00::${(i + 2).toString(16)}`],
}));
/** Addresses that the kernel shows. */
export const liveIPs = new Set(pods.flatMap(({ ips }) => ips));

export interface Template {
  readonly files: Files;
  /** The log from before the present identity. */
  readonly olderLog: Uint8Array;
}

/** Makes it in a directory that is not there yet. */
export function makeTemplate(dir: string): Template {
  using store = Store.open(dir, boot);
  store.putSetting("mode", "strict");
  store.putIdentity(formerIdentity);
  store.putPeers(peerRecords.slice(0, 40));
  for (const pod of pods.slice(0, 196)) addPod(store, pod);
  checkpoint(dir);
  store.putPeers(peerRecords.slice(40));
  for (const [rangeSet, ip] of ["10.1.0.240", "fd00::f0"].entries())
    store.putLease({ owner: killed, ip, rangeSet });
  const olderLog = new Uint8Array(readFileSync(`${dir}/state.db-wal`));
  store.putIdentity(presentIdentity);
  for (const pod of pods.slice(196)) addPod(store, pod);
  const names = readdirSync(dir).filter((name) => !/lock$|-shm$/.test(name));
  const files = new Map(names.map((name) => [name, new Uint8Array(readFileSync(`${dir}/${name}`))]));
  return { files, olderLog };
}

function addPod(store: Store, pod: (typeof pods)[number]): void {
  store.transaction(() => {
    for (const [rangeSet, ip] of pod.ips.entries()) store.putLease({ owner: pod, ip, rangeSet });
    store.putAttachment(pod);
  });
}

function checkpoint(dir: string): void {
  using database = new Database(`${dir}/state.db`);
  database.run("PRAGMA wal_checkpoint(TRUNCATE)");
}

/** Rows as they were written, as texts: a damaged store has no other ones. */
export const knownAttachments: ReadonlySet<string> = new Set(pods.map((pod) => textOf(pod)));
export const knownLeases: ReadonlySet<string> = new Set(
  [...pods, { ...killed, ips: ["10.1.0.240", "fd00::f0"] }].flatMap(({ containerID, ips }) =>
    ips.map((ip, rangeSet) => textOf({ owner: owner(containerID), ip, rangeSet })),
  ),
);
export const knownPeers: ReadonlySet<string> = new Set(peerRecords.map((record) => textOf(record)));

/** The same for equal values, whatever the order of their properties. */
export function textOf(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
