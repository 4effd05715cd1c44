// The laws of RecordSource (src/sources/record-source.ts), and of the class that brings a source into the
// store, over both sources. The tests in the directories have what is special to one of them.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RecordEntry } from "../../src/plan/records/peer-changes.ts";
import type { Publication, RecordSnapshot } from "../../src/sources/record-source.ts";
import { RejectedRecords } from "../../src/sources/rejected-records.ts";
import { SourceSync } from "../../src/sources/source-sync.ts";
import { Store } from "../../src/state/store.ts";
import { waitUntil } from "../lab/wait.ts";
import { own, recordOf } from "./directory/directory.ts";
import { makeApi, makeDirectory, type Place, silent } from "./places.ts";

setDefaultTimeout(60_000);

const changedOwn = { ...own, podCIDRs: ["10.201.0.0/24"] };

/** An agent's view of a source: it reads the snapshot only if it was told to, by a change or a deadline. */
class Reader implements Disposable {
  skippedMs = 0;
  /** How often `onChange` was called. */
  changes = 0;
  snapshot: RecordSnapshot | undefined;
  #isDue = true;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly now = () => performance.now() + this.skippedMs;
  readonly source;

  constructor(place: Place) {
    const onChange = () => {
      this.changes++;
      this.#isDue = true;
    };
    this.source = place.open({ now: this.now, onChange });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.source[Symbol.dispose]();
  }

  /** The names of the valid records, after the source was read if it is due. */
  names(): string {
    if (this.#isDue) this.read();
    return [...this.entries]
      .filter(([, { state }]) => state === "valid")
      .map(([name]) => name)
      .sort()
      .join(" ");
  }

  read(): void {
    this.#isDue = false;
    clearTimeout(this.#timer);
    this.snapshot = this.source.snapshot();
    const { wakeInMs } = this.snapshot ?? {};
    if (wakeInMs !== undefined)
      this.#timer = setTimeout(() => {
        this.#isDue = true;
      }, wakeInMs);
  }

  get entries(): ReadonlyMap<string, RecordEntry> {
    return this.snapshot?.entries ?? new Map();
  }

  async until(names: string): Promise<void> {
    await waitUntil(() => this.names() === names, { what: () => `${names}; there is ${this.names()}` });
  }

  /** Until the record is published. */
  async published(record = own): Promise<void> {
    await waitUntil(() => this.source.publish(record).done, { what: "the publication" });
  }
}

async function start(place: Place): Promise<Reader> {
  const reader = new Reader(place);
  reader.source.start();
  await reader.until("node-1 node-2");
  return reader;
}

async function makePlace(make: () => Promise<Place> | Place): Promise<Place> {
  const place = await make();
  place.put(recordOf(1));
  place.put(recordOf(2));
  return place;
}

const sources = [
  ["a directory", makeDirectory],
  ["the API", makeApi],
] as const;

describe.each(sources)("reading from %s", (_, make) => {
  test("a source that was not started touches nothing", async () => {
    await using place = await makePlace(make);
    using reader = new Reader(place);
    expect(reader.source.snapshot()).toBeUndefined();
    expect(reader.source.publish(own)).toEqual({ done: false });
    await Bun.sleep(50);
    expect([reader.source.status.isCurrent, place.isUntouched()]).toEqual([false, true]);
  });

  test("a source tells of every change, and an entry that says the same stays the same object", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    const before = reader.entries;
    // The same is written again.
    place.put(recordOf(1));
    place.put(recordOf(3));
    await reader.until("node-1 node-2 node-3");
    place.put(recordOf(2, { podCIDRs: ["10.99.0.0/24"] }));
    await waitUntil(() => reader.names() !== "" && reader.entries.get("node-2") !== before.get("node-2"), {
      what: "another entry of node-2",
    });
    place.remove("node-3");
    await reader.until("node-1 node-2");
    expect(reader.entries.get("node-1")).toBe(before.get("node-1")!);
    expect(reader.entries.get("node-2")).toMatchObject({ record: { podCIDRs: ["10.99.0.0/24"] } });
    const { entries } = reader;
    reader.read();
    expect(reader.entries).toBe(entries);
  });

  test("a malformed record costs only itself", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    const before = reader.entries;
    place.putMalformed("node-2");
    await reader.until("node-1");
    expect(reader.entries.get("node-1")).toBe(before.get("node-1")!);
    expect(reader.entries.get("node-2")).toMatchObject({ state: "rejected", reason: expect.any(String) });
  });

  test("this node's own record is not in the snapshot", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    await reader.published();
    place.put(recordOf(3));
    await reader.until("node-1 node-2 node-3");
    expect(reader.entries.has(own.name)).toBe(false);
  });

  test("a source that cannot be reached keeps its entries and says why; what changed meanwhile is not lost", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    const before = reader.entries;
    await place.fail();
    await waitUntil(
      () => {
        reader.read();
        return reader.source.status.problem !== undefined;
      },
      { what: "the problem" },
    );
    expect(reader.source.status.isCurrent).toBe(false);
    expect([...reader.entries]).toEqual([...before]);
    expect(reader.source.publish(own).done).toBe(false);
    await place.restore();
    place.put(recordOf(3));
    await reader.until("node-1 node-2 node-3");
    await waitUntil(() => reader.source.status.isCurrent, { what: "the end of the problem" });
    expect(reader.source.status.problem).toBeUndefined();
  });

  test("a source that starts anew has the same entries, and does not write what is there", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    await reader.published();
    const version = place.version();
    using next = await start(place);
    await next.published();
    expect([...next.entries]).toEqual([...reader.entries]);
    expect(place.version()).toBe(version);
  });
});

describe.each(sources)("publishing in %s", (_, make) => {
  test("the record is written once, and again if it changes", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    await reader.published();
    expect(place.published()).toEqual(own);
    const version = place.version();
    for (let i = 0; i < 5; i++) expect(reader.source.publish(own)).toEqual({ done: true });
    expect(place.version()).toBe(version);
    await reader.published(changedOwn);
    expect(place.published()).toEqual(changedOwn);
  });

  test("a publication that fails leaves the earlier one, says why, and is tried again", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    await reader.published();
    place.refuseWrites();
    const problem = await waitUntil(() => reader.source.publish(changedOwn).problem, { what: "the problem" });
    expect([typeof problem, place.published()]).toEqual(["string", own]);
    place.allowWrites();
    await reader.published(changedOwn);
    expect(place.published()).toEqual(changedOwn);
  });

  test("what another writer puts in its place is replaced at once, and repeatedly only after a pause", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    await reader.published();
    const isOwn = () => JSON.stringify(place.published()) === JSON.stringify(own);
    place.put(changedOwn);
    await waitUntil(() => reader.source.publish(own).done && isOwn(), { what: "the restored record" });
    place.put(changedOwn);
    let race: Publication = { done: false };
    const isRefused = () => {
      race = reader.source.publish(own);
      return race.problem !== undefined;
    };
    await waitUntil(isRefused, { what: "the race" });
    expect([race.done, place.published()]).toEqual([false, changedOwn]);
    reader.skippedMs += race.wakeInMs ?? 0;
    await waitUntil(() => reader.source.publish(own).done && isOwn(), { what: "the restored record" });
  });

  test("after its disposal a source calls and writes nothing, and its record stays", async () => {
    await using place = await makePlace(make);
    using reader = await start(place);
    await reader.published();
    reader.source[Symbol.dispose]();
    const { changes } = reader;
    using witness = await start(place);
    place.put(recordOf(3));
    await witness.until("node-1 node-2 node-3");
    expect([reader.changes, place.published()]).toEqual([changes, own]);
  });
});

/** A store that follows a source. */
class Follower implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), "wg-cni-laws-"));
  readonly store = Store.open(this.#root, "boot");
  readonly sync;

  constructor(readonly reader: Reader) {
    this.sync = new SourceSync(reader.source, this.store, {
      ...{ log: silent, now: reader.now, rejected: new RejectedRecords(this.store) },
    });
  }

  [Symbol.dispose](): void {
    this.store[Symbol.dispose]();
    rmSync(this.#root, { recursive: true });
  }

  get names(): string {
    return [...this.store.peerSources().keys()].sort().join(" ");
  }

  /** Ingests until something is so. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    const look = () => {
      this.sync.ingest();
      return isSo();
    };
    await waitUntil(look, { what: () => `${what}; peers ${this.names}` });
  }

  get rejected(): readonly string[] {
    return this.store.rejectedRecords().map(({ file }) => file);
  }
}

async function follow(place: Place) {
  const reader = new Reader(place);
  reader.source.start();
  const follower = new Follower(reader);
  await follower.until("both are peers", () => follower.names === "node-1 node-2");
  return {
    ...{ reader, follower },
    [Symbol.dispose]() {
      for (const part of [reader, follower]) part[Symbol.dispose]();
    },
  };
}

describe.each(sources)("the store that follows %s", (_, make) => {
  test("is not written to while nothing changes", async () => {
    await using place = await makePlace(make);
    using context = await follow(place);
    const { follower } = context;
    const { generation } = follower.store;
    const { transaction } = follower.store;
    follower.store.transaction = () => expect.unreachable();
    for (let i = 0; i < 5; i++) follower.sync.ingest();
    follower.store.transaction = transaction;
    expect(follower.store.generation).toBe(generation);
  });

  test("has all peers before this node's record is published", async () => {
    await using place = await makePlace(make);
    using reader = new Reader(place);
    reader.source.start();
    await reader.until("node-1 node-2");
    using follower = new Follower(reader);
    expect([follower.sync.publish(own), place.published()]).toEqual([{ done: false }, undefined]);
    follower.sync.ingest();
    expect(follower.names).toBe("node-1 node-2");
    await waitUntil(() => follower.sync.publish(own).done, { what: "the publication" });
  });

  test("gets back what another process removes, imports over or adds, as the source has it", async () => {
    await using place = await makePlace(make);
    using context = await follow(place);
    const { store, sync } = context.follower;
    store.removePeer("node-1");
    store.putPeers([recordOf(2, { podCIDRs: [] }), recordOf(7)], "import");
    sync.ingest();
    const name = context.reader.source.name;
    expect(Object.fromEntries(store.peerSources())).toEqual({
      "node-1": name,
      "node-2": name,
      "node-7": "import",
    });
    expect(store.peers().find(({ record }) => record.name === "node-2")?.record).toEqual(recordOf(2));
  });

  test("keeps the peer of a malformed record, and has the reason", async () => {
    await using place = await makePlace(make);
    using context = await follow(place);
    const { follower } = context;
    place.putMalformed("node-2");
    await follower.until("it is rejected", () => follower.rejected.length === 1);
    expect([follower.names, follower.rejected[0]]).toEqual([
      "node-1 node-2",
      expect.stringContaining("node-2"),
    ]);
    place.put(recordOf(2));
    await follower.until("it is accepted", () => follower.rejected.length === 0);
  });

  test("loses the peer of one record that is gone, and of no record if all are gone at once", async () => {
    await using place = await makePlace(make);
    using context = await follow(place);
    const { follower, reader } = context;
    place.put(recordOf(3));
    await follower.until("three are peers", () => follower.names === "node-1 node-2 node-3");
    place.remove("node-3");
    await follower.until("one has left", () => {
      // A delay is short for one record, and much longer for most of them.
      reader.skippedMs += 1000;
      return follower.names === "node-1 node-2";
    });
    for (const name of ["node-1", "node-2"]) place.remove(name);
    await follower.until("the source is doubted", () => follower.rejected.length === 1);
    expect(follower.rejected).toEqual([reader.source.labels.records]);
    reader.skippedMs += 60_000;
    follower.sync.ingest();
    expect(follower.names).toBe("node-1 node-2");
    for (const n of [1, 2]) place.put(recordOf(n));
    await follower.until("nothing is doubted", () => follower.rejected.length === 0);
    expect(follower.names).toBe("node-1 node-2");
  });

  test("that refuses a write loses no change", async () => {
    await using place = await makePlace(make);
    using context = await follow(place);
    const { follower, reader } = context;
    const { changes } = reader;
    const changed = recordOf(2, { podCIDRs: ["10.99.0.0/24"] });
    place.put(changed);
    await waitUntil(() => reader.changes > changes, { what: "the change" });
    follower.store.removePeer("node-1");
    const { transaction } = follower.store;
    follower.store.transaction = () => {
      throw new Error("the store is locked");
    };
    for (let i = 0; i < 2; i++) expect(() => follower.sync.ingest()).toThrow("the store is locked");
    follower.store.transaction = transaction;
    follower.sync.ingest();
    expect(follower.store.peers().map(({ record }) => record)).toEqual([recordOf(1), changed]);
  });
});
