// Making, migrating and refusing state files: many processes at once, other
// versions, damaged files, filesystems that are full or read-only.
import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { rowSum } from "../../src/state/checksum.ts";
import { StoreError } from "../../src/state/error.ts";
import { openState } from "../../src/state/open.ts";
import { migrations } from "../../src/state/schema.ts";
import { Store } from "../../src/state/store.ts";
import { addSums } from "../../src/state/sums.ts";
import { presentIdentity } from "./damage/store.ts";
import { attachment, owner, peer } from "./samples.ts";
import { newStateDir, removeStateDirs, runChild, runChildBy, startChild } from "./support.ts";

afterAll(removeStateDirs);

function refusal(action: () => unknown): StoreError {
  try {
    action();
  } catch (error) {
    if (error instanceof StoreError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

test("16 processes at once make one state and share its addresses", async () => {
  const dir = newStateDir();
  const names = Array.from({ length: 16 }, (_, i) => `c${i}`);
  const lines = await Promise.all(names.map((name) => runChild("add", dir, "b1", name)));
  expect(new Set(lines).size).toBe(16);
  using store = Store.open(dir, "b1");
  expect(store.attachments()).toHaveLength(16);
  expect(store.leases()).toHaveLength(32);
  expect(readdirSync(dir).sort()).toEqual([
    "state.db",
    "state.db-shm",
    "state.db-wal",
    "state.lock",
    "write.lock",
  ]);
}, 30_000);

test("SQLite is never asked for a file that is not there: it would open the one that another process makes just then, to read only", async () => {
  const dir = newStateDir();
  const traced = ["strace", "-f", "-o", `${dir}.trace`, "-e", "trace=openat", "-P", `${dir}/state.db`];
  await runChildBy(traced, "add", dir, "b1", "c1");
  const opened = readFileSync(`${dir}.trace`, "utf8").match(/openat\(.*/g);
  expect(opened).toEqual([expect.stringMatching(/O_RDWR.* = \d+$/)]);
}, 30_000);

test("16 processes at once after a boot drop what was before once, and nothing of each other's", async () => {
  const dir = newStateDir();
  {
    using store = Store.open(dir, "b1");
    store.putAttachment(attachment(owner("old")));
    store.putLease({ owner: owner("old"), ip: "10.1.0.2", rangeSet: 0 });
  }
  const names = Array.from({ length: 16 }, (_, i) => `c${i}`);
  await Promise.all(names.map((name) => runChild("add", dir, "b2", name)));
  using store = Store.open(dir, "b2");
  expect(store.attachments().map(({ containerID }) => containerID)).toEqual(names.sort());
}, 30_000);

test("a draft that its process did not live to finish hinders no other process", () => {
  const dir = newStateDir();
  mkdirSync(dir);
  for (const suffix of ["", "-wal", "-shm", "-journal"])
    writeFileSync(`${dir}/state.db.new${suffix}`, "half");
  using store = Store.open(dir, "b1");
  store.putSetting("x", 1);
  expect(readdirSync(dir).filter((name) => name.includes("new"))).toEqual([]);
});

test("processes that exit without closing leave a short log", async () => {
  const dir = newStateDir();
  for (let i = 0; i < 60; i++) await runChild("add", dir, "b1", `c${i}`);
  // 64 pages, and the one transaction that went over it.
  expect(statSync(`${dir}/state.db-wal`).size).toBeLessThan(80 * 4120);
  using store = Store.open(dir, "b1");
  expect(store.attachments()).toHaveLength(60);
}, 60_000);

test("a large transaction does not leave a long log either", () => {
  const dir = newStateDir();
  using store = Store.open(dir, "b1");
  store.putPeers(Array.from({ length: 2000 }, (_, i) => peer(`p${i}`)));
  expect(statSync(`${dir}/state.db-wal`).size).toBe(0);
});

test("an older file is migrated, with what is in it, also while another has it open", () => {
  const dir = newStateDir();
  using older = openState(dir);
  older.transaction(() => older.change("INSERT INTO sysctls VALUES ('kept', '1')"));
  const next = [
    ...migrations,
    "ALTER TABLE sysctls ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",
    "CREATE TABLE later (x INTEGER) STRICT; INSERT INTO later VALUES (7)",
  ];
  using newer = openState(dir, next);
  expect(newer.all("SELECT * FROM sysctls")).toEqual([{ path: "kept", before: "1", note: "none" }]);
  expect(newer.all("SELECT x FROM later")).toEqual([{ x: 7 }]);
  expect(older.all("SELECT path FROM sysctls")).toEqual([{ path: "kept" }]);
  using again = openState(dir, next);
  expect(again.all("SELECT x FROM later")).toEqual([{ x: 7 }]);
});

test("stored values are renamed when an older file is migrated", () => {
  const dir = newStateDir();
  const path = { slot: "a", candidate: 1, provoke: ["b"], pinned: false };
  const applied = { generation: 3, bootId: "b1" };
  const lacking = { "table inet": "nftables is missing" };
  {
    using older = openState(dir, migrations.slice(0, 7));
    older.transaction(() => {
      older.change("INSERT INTO paths VALUES ('n2', ?)", JSON.stringify(path));
      older.change("UPDATE meta SET settings = json_object('quietTime', 60, 'portA', 1000)");
      older.change("UPDATE meta SET boot = 'b1', programmed = ?", JSON.stringify({ ...applied, lacking }));
      older.change("INSERT INTO refused_records VALUES ('n3.json', 'it is empty')");
      older.change(
        "INSERT INTO peers (name, record, claims, source, changed_at) VALUES ('n2', '{}', '{}', 'folder', 0)",
      );
    });
  }
  using store = Store.open(dir, "b1");
  expect(store.paths().get("n2")).toEqual({ slot: "a", candidate: 1, initiate: ["b"], pinned: false });
  expect(store.rejectedRecords()).toEqual([{ file: "n3.json", reason: "it is empty" }]);
  expect(store.applied()).toEqual({ ...applied, unsupported: lacking });
  expect(store.settings()).toEqual({ portA: 1000, plaintextWindow: 60 });
  using file = openState(dir);
  expect(file.all("SELECT source FROM peers")).toEqual([{ source: "directory" }]);
});

test("rows from before they had checksums get them, and the identity its copy", () => {
  const dir = newStateDir();
  const of = owner("c1");
  {
    using older = openState(dir, migrations.slice(0, migrations.indexOf(addSums)));
    older.transaction(() => {
      older.change("UPDATE meta SET boot = 'b1', settings = '{\"mode\":\"strict\"}'");
      older.change("INSERT INTO identity VALUES (1, ?)", JSON.stringify({ name: "n1", slots: [] }));
      older.change(
        "INSERT INTO peers (name, record, claims, source, changed_at) VALUES ('n2', '{\"slots\":[]}', '{}', 'import', 1)",
      );
      older.change(
        "INSERT INTO attachments VALUES ('pods', 'c1', 'eth0', '/n', 'standalone', 'wgc1', '[\"10.1.0.2\"]', '{}', NULL, 5)",
      );
      older.change("INSERT INTO leases VALUES ('pods', '10.1.0.2', 0, 'c1', 'eth0')");
    });
  }
  using store = Store.open(dir, "b1");
  expect(store.settings()).toEqual({ mode: "strict" });
  expect(store.identity()?.name).toBe("n1");
  expect(store.peers().map(({ record }) => record)).toEqual([{ slots: [] }] as never);
  expect(store.findAttachment(of)?.ips).toEqual(["10.1.0.2"]);
  expect(store.leasesOf(of).map(({ ip }) => ip)).toEqual(["10.1.0.2"]);
  expect(readdirSync(dir)).toContain("identity.json");
});

test("rows that an older agent writes into a store that was migrated under it are read", () => {
  const dir = newStateDir();
  {
    using store = Store.open(dir, "b1");
    store.putIdentity(presentIdentity);
    store.putPeers([peer("n2")], "import");
  }
  {
    using db = openState(dir);
    // As the builds without checksums write them.
    const { data } = db.find("SELECT data FROM identity") as { data: string };
    const row = db.find("SELECT record, claims FROM peers") as { record: string; claims: string };
    db.transaction(() => {
      const later = JSON.stringify({ ...JSON.parse(data), name: "later" });
      db.change("INSERT OR REPLACE INTO identity (id, data) VALUES (1, ?)", later);
      db.change(
        "INSERT OR REPLACE INTO peers (name, record, claims, source, changed_at) VALUES ('n2', ?, ?, 'import', 7)",
        row.record.replace("51820", "51999"),
        row.claims,
      );
    });
  }
  using store = Store.open(dir, "b1");
  expect(store.identity()?.name).toBe("later");
  expect(store.peers()[0]?.record.slots[0]?.port).toBe(51999);
  store.putIdentity({ ...presentIdentity, name: "last" });
  expect(store.identity()?.name).toBe("last");
  using again = Store.open(dir, "b1");
  expect(again.identity()?.name).toBe("last");
});

test("a store from before the identity had a copy, which was brought back, counts more than a copy of later", () => {
  const dir = newStateDir();
  {
    using older = openState(dir, migrations.slice(0, migrations.indexOf(addSums)));
    const data = JSON.stringify({ name: "back", slots: [] });
    older.transaction(() => older.change("INSERT INTO identity VALUES (1, ?)", data));
  }
  const copy = { seq: 9, data: JSON.stringify({ name: "later", slots: [] }) };
  writeFileSync(`${dir}/identity.json`, JSON.stringify({ ...copy, sum: rowSum(copy.seq, copy.data) }));
  {
    using store = Store.open(dir, "b1");
    expect(store.identity()?.name).toBe("back");
  }
  expect(JSON.parse(readFileSync(`${dir}/identity.json`, "utf8"))).toMatchObject({ seq: 10 });
});

test("a migration that fails leaves the file as it was", () => {
  const dir = newStateDir();
  openState(dir)[Symbol.dispose]();
  const broken = [...migrations, "CREATE TABLE later (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)"];
  expect(refusal(() => openState(dir, broken)).message).toContain("nowhere");
  using store = openState(dir);
  expect(store.all("SELECT name FROM sqlite_master WHERE name = 'later'")).toEqual([]);
});

test("a file of a newer version is refused and left alone", () => {
  const dir = newStateDir();
  openState(dir, [...migrations, "CREATE TABLE later (x INTEGER) STRICT"])[Symbol.dispose]();
  const before = readFileSync(`${dir}/state.db`);
  const error = refusal(() => Store.open(dir, "b1"));
  expect([error.kind, error.message]).toEqual([
    "version",
    `Cannot use the state in ${dir}/state.db: its version is ${migrations.length + 1} and this wg-cni knows only ${migrations.length}. Install the newer wg-cni again, which wrote it.`,
  ]);
  expect(readFileSync(`${dir}/state.db`).equals(before)).toBe(true);
});

test.each([
  ["random bytes", (path: string) => writeFileSync(path, crypto.getRandomValues(new Uint8Array(8192)))],
  ["an empty file", (path: string) => truncateSync(path, 0)],
  ["half a file", (path: string) => truncateSync(path, 4096)],
  [
    "another program's database",
    (path: string) =>
      void new Database(path.replace("state.db", "x.db")).run(`CREATE TABLE t (x); VACUUM INTO '${path}2'`),
  ],
])("%s is refused, never taken for a new node's", (_what, damage) => {
  const dir = newStateDir();
  {
    using store = Store.open(dir, "b1");
    store.putSetting("x", 1);
  }
  const path = `${dir}/state.db`;
  damage(path);
  if (existsSync(`${path}2`)) writeFileSync(path, readFileSync(`${path}2`));
  const before = readFileSync(path);
  const error = refusal(() => {
    using store = Store.open(dir, "b1");
    store.settings();
    store.peers();
  });
  expect(error.kind).toBe("corrupt");
  expect(error.message).toContain("doctor --repair");
  expect(readFileSync(path).equals(before)).toBe(true);
});

test("a damaged value is an error, not an absent one", () => {
  const dir = newStateDir();
  using db = openState(dir);
  db.transaction(() => db.change("INSERT INTO identity VALUES (1, '{\"name\": ', 1, '')"));
  using store = Store.open(dir, "b1");
  const error = refusal(() => store.identity());
  expect(error.kind).toBe("corrupt");
  expect(error.message).toContain("the node's identity is not what was written");
});

test("a lock held for too long is busy, after waiting for it", async () => {
  const dir = newStateDir();
  using store = Store.open(dir, "b1");
  const holder = startChild("hold", dir, "b1");
  await holder.stdout.getReader().read();
  const start = Bun.nanoseconds();
  const error = refusal(() => store.putAttachment(attachment(owner("c1"))));
  const waitedMs = (Bun.nanoseconds() - start) / 1e6;
  expect(error.kind).toBe("busy");
  expect(error.message).toContain("another process keeps it locked");
  expect(waitedMs).toBeGreaterThan(4000);
  expect(waitedMs).toBeLessThan(8000);
  // Readers are not held up.
  expect(store.attachments()).toEqual([]);
  holder.kill("SIGKILL");
  await holder.exited;
  store.putAttachment(attachment(owner("c1")));
  expect(store.attachments().map(({ containerID }) => containerID)).toEqual(["c1"]);
}, 20_000);

test("a directory that cannot be made is named", () => {
  const dir = newStateDir();
  writeFileSync(dir, "a file");
  const error = refusal(() => Store.open(dir, "b1"));
  expect(error.kind).toBe("io");
  expect(error.message).toContain(dir);
});

test("a directory and files that were open to other users are closed to them", () => {
  const dir = newStateDir();
  Store.open(dir, "b1")[Symbol.dispose]();
  for (const name of ["state.db", "state.lock"]) chmodSync(`${dir}/${name}`, 0o666);
  chmodSync(dir, 0o777);
  using store = Store.open(dir, "b1");
  store.putSetting("x", 1);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  for (const name of ["state.db", "state.db-wal", "state.db-shm", "write.lock"])
    expect([name, statSync(`${dir}/${name}`).mode & 0o777]).toEqual([name, 0o600]);
});

/** [what, how it is put in the place of the file]; needs root where it changes owners. */
const plants: [string, (path: string) => void][] = [
  [
    "another user's file",
    (path) => {
      writeFileSync(path, "");
      chownSync(path, 1000, 1000);
    },
  ],
  ["a link", (path) => symlinkSync("/dev/null", path)],
  ["a pipe", (path) => Bun.spawnSync(["mkfifo", path])],
  ["a directory", (path) => mkdirSync(path)],
];

describe.each(["state.db", "state.db-wal", "state.lock", "write.lock"])("in the place of %s", (name) => {
  test.each(plants)("%s is refused by name, and nothing waits for it", (_what, plant) => {
    const dir = newStateDir();
    mkdirSync(dir);
    plant(`${dir}/${name}`);
    const error = refusal(() => Store.open(dir, "b1").putSetting("x", 1));
    expect(error.message).toContain(`${dir}/${name}`);
    expect(["exposed", "io"]).toContain(error.kind);
  });
});

test("a directory that holds other things keeps its mode, and is refused if other users may write there", () => {
  const dir = newStateDir();
  mkdirSync(dir);
  writeFileSync(`${dir}/passwd`, "");
  chmodSync(dir, 0o755);
  for (const _opening of [1, 2]) {
    Store.open(dir, "b1")[Symbol.dispose]();
    expect(statSync(dir).mode & 0o777).toBe(0o755);
  }
  for (const mode of [0o777, 0o775, 0o1777]) {
    chmodSync(dir, mode);
    const { kind, message } = refusal(() => Store.open(dir, "b1"));
    expect([kind, message.includes(`chmod 700 ${dir}`)]).toEqual(["exposed", true]);
    expect(statSync(dir).mode & 0o7777).toBe(mode);
  }
});

test("a link to a directory is followed if it is ours, and refused if it is another user's", () => {
  const [dir, target] = [newStateDir(), newStateDir()];
  mkdirSync(target);
  symlinkSync(target, dir);
  Store.open(dir, "b1")[Symbol.dispose]();
  expect(statSync(target).mode & 0o777).toBe(0o700);
  lchownSync(dir, 1000, 1000);
  chmodSync(target, 0o755);
  expect(refusal(() => Store.open(dir, "b1")).kind).toBe("exposed");
  expect(statSync(target).mode & 0o777).toBe(0o755);
});

test("a directory of another user's is refused, and left as it is", () => {
  const dir = newStateDir();
  mkdirSync(dir);
  chownSync(dir, 1000, 1000);
  const error = refusal(() => Store.open(dir, "b1"));
  expect([error.kind, error.message.includes(`chown root ${dir}`)]).toEqual(["exposed", true]);
  expect(readdirSync(dir)).toEqual([]);
});
