// The directory of node records as it is read: good ones are peers, bad ones are
// refused one by one, and nothing that lies there stops the rest.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import { judgeRecord } from "../../../src/plan/records/directory.ts";
import { RecordReader, settleMs } from "../../../src/sources/directory/cache.ts";
import { makeRandom } from "../../plan/random.ts";
import { Directory, keyOf, own, recordOf } from "./directory.ts";

setDefaultTimeout(60_000);

describe("what is taken", () => {
  test("every record is a peer; this node's own, temporary and other files are not looked at", () => {
    using directory = new Directory();
    directory.put(recordOf(1), recordOf(2), own);
    for (const name of [".node-3.json", "node-4.json.tmp", "README", "node-5.json~"])
      writeFileSync(directory.file(name), "{");
    expect(directory.look()).toEqual({ records: 2, rejected: 0 });
    expect(directory.peers).toEqual({ "node-1": "directory", "node-2": "directory" });
    expect(directory.peer("node-1")).toEqual(recordOf(1));
    expect(directory.refused).toEqual({});
  });

  test("a look at what has not changed writes nothing", () => {
    using directory = new Directory();
    directory.put(recordOf(1));
    writeFileSync(directory.file("bad.json"), "{");
    directory.look();
    const { generation } = directory.store;
    const written = () => statSync(`${directory.store.path}-wal`, { bigint: true }).mtimeNs;
    const before = written();
    const lines = directory.lines.length;
    for (let i = 0; i < 5; i++) {
      directory.nowMs += settleMs;
      directory.look();
    }
    expect(directory.store.generation).toBe(generation);
    expect(written()).toBe(before);
    expect(directory.lines).toHaveLength(lines);
  });

  test("the directory's record takes over the name of an imported peer, and leaves with its file", () => {
    using directory = new Directory();
    directory.store.putPeers([recordOf(1, { podCIDRs: ["10.99.0.0/24"] }), recordOf(2)]);
    directory.put(recordOf(1), recordOf(3));
    directory.look();
    expect(directory.peers).toEqual({ "node-1": "directory", "node-2": "import", "node-3": "directory" });
    expect(directory.peer("node-1")).toEqual(recordOf(1));
    // An import while the file is there lasts until the next look.
    directory.store.putPeers([recordOf(1, { podCIDRs: [] })]);
    directory.store.removePeer("node-3");
    directory.look();
    expect(directory.peer("node-1")).toEqual(recordOf(1));
    expect(directory.peers).toMatchObject({ "node-1": "directory", "node-3": "directory" });
    unlinkSync(directory.file("node-1.json"));
    directory.look();
    expect(directory.peers).toEqual({ "node-2": "import", "node-3": "directory" });
  });

  test("a changed record is taken, and claims that stay keep their place", () => {
    using directory = new Directory();
    directory.put(recordOf(1), recordOf(2));
    directory.look();
    const seqOf = (name: string) =>
      directory.store
        .peers()
        .find(({ record }) => record.name === name)
        ?.claims().cidrClaims[0]?.seq;
    const seq = seqOf("node-1");
    const changed = recordOf(1, { endpoints: ["198.18.77.1"], podCIDRs: ["10.0.1.0/24", "10.77.0.0/24"] });
    directory.put(changed);
    directory.look();
    expect(directory.peer("node-1")).toEqual(changed);
    expect(seqOf("node-1")).toBe(seq);
  });

  test("no cache is trusted over a rename: another file of the same size and times is read", () => {
    using directory = new Directory();
    const age = (file: string) => utimesSync(directory.file(file), 1_700_000_000, 1_700_000_000);
    directory.put(recordOf(1));
    age("node-1.json");
    directory.look();
    directory.nowMs += settleMs;
    directory.look();
    const { size } = statSync(directory.file("node-1.json"));
    const other = JSON.stringify(recordOf(1, { podCIDRs: ["10.0.9.0/24"] }));
    expect(other).toHaveLength(size);
    writeFileSync(directory.file("new.tmp"), other);
    age("new.tmp");
    renameSync(directory.file("new.tmp"), directory.file("node-1.json"));
    directory.look();
    expect(directory.peer("node-1")?.podCIDRs).toEqual(["10.0.9.0/24"]);
  });
});

/** A record with one thing wrong. */
const bad = (change: object) => JSON.stringify({ ...recordOf(9), ...change });
const hostile: readonly [what: string, content: string | Uint8Array, reason: string | RegExp][] = [
  ["a huge file", " ".repeat(1024 * 1024) + bad({}), /^it is larger than 1 MiB, five times/],
  ["a huge file of nothing", new Uint8Array(64 * 1024 * 1024), /^it is larger than 1 MiB/],
  ["too many CIDRs", bad({ podCIDRs: Array(4097).fill("10.9.0.0/24") }), /4097 entries, at most 4096/],
  ["too many addresses", bad({ endpoints: Array(65).fill("192.0.2.9") }), /65 entries, at most 64/],
  [
    "everything",
    bad({ podCIDRs: ["0.0.0.0/0"] }),
    "record.podCIDRs[0]: 0.0.0.0/0 is everything, not the pods of one node",
  ],
  ["everything of IPv6", bad({ podCIDRs: ["::/0"] }), /::\/0 is everything/],
  ["half of everything", bad({ podCIDRs: ["128.0.0.0/1"] }), /128.0.0.0\/1 is too wide/],
  ["a link-local CIDR", bad({ podCIDRs: ["169.254.1.0/24"] }), /is a link-local address/],
  ["link-local inside a CIDR", bad({ podCIDRs: ["169.0.0.0/8"] }), /has 169.254.0.0\/16 in it/],
  ["IPv6 link-local inside a CIDR", bad({ podCIDRs: ["fe00::/8"] }), /has fe80::\/10 in it/],
  ["a link-local node IP", bad({ nodeIPs: ["fe80::9"] }), /fe80::9 is a link-local address/],
  ["a link-local endpoint", bad({ endpoints: ["169.254.169.254"] }), /is a link-local address/],
  ["a loopback CIDR", bad({ podCIDRs: ["127.0.0.0/8"] }), /is a loopback address/],
  ["a loopback node IP", bad({ nodeIPs: ["::1"] }), /::1 is a loopback address/],
  ["loopback written as IPv6", bad({ nodeIPs: ["::ffff:127.0.0.1"] }), /IPv4 address written as IPv6/],
  ["a multicast endpoint", bad({ endpoints: ["ff02::1"] }), /multicast/],
  [
    "overlapping CIDRs",
    bad({ podCIDRs: ["10.9.0.0/16", "10.9.1.0/24"] }),
    /10.9.1.0\/24 overlaps 10.9.0.0\/16/,
  ],
  [
    "one key for both slots",
    bad({ slots: recordOf(9).slots.map((s) => ({ ...s, publicKey: keyOf(9) })) }),
    /both slots have the public key/,
  ],
  [
    "a key that is none",
    bad({ slots: [{ ...recordOf(9).slots[0], publicKey: "x" }] }),
    /not a WireGuard key/,
  ],
  [
    "our own name",
    JSON.stringify(own),
    "it holds a record of this node, node-0, which writes its own to node-0.json: remove the file",
  ],
  ["another's name", JSON.stringify(recordOf(8)), "it holds the record of node-8: call it node-8.json"],
  ["a path for a name", bad({ name: "../../etc/passwd" }), /is not a node name/],
  ["a number for a name", bad({ name: 9 }), /record.name: 9 is not a node name/],
  [
    "an unknown key, to be shown on a terminal",
    bad({ "\u001b[2J\u009b": 1 }),
    /^record: unknown key "\\u001b\[2J\\u009b"/,
  ],
  ["a long key", bad({ ["x".repeat(500_000)]: 1 }), /^record: unknown key "x+…$/],
  [
    "lists in lists",
    `{"name":${"[".repeat(400_000)}${"]".repeat(400_000)}}`,
    /record.name: a list is not a node name/,
  ],
  ["a list of records", JSON.stringify([recordOf(9)]), "record: must be an object, not a list"],
  ["null", "null", "record: must be an object, not null"],
  ["nothing", "", "it is empty"],
  ["no text", new Uint8Array([0, 255, 254, 192, 128, 10]), /^it is not JSON/],
  ["half a record", bad({}).slice(0, 100), /^it is not JSON/],
];

describe("what is refused, while the rest keeps working", () => {
  test.each(hostile)("%s", (_, content, reason) => {
    using directory = new Directory();
    directory.put(recordOf(1));
    writeFileSync(directory.file("node-9.json"), content);
    expect(directory.look()).toEqual({ records: 1, rejected: 1 });
    expect(directory.peers).toEqual({ "node-1": "directory" });
    const said = directory.refused["node-9.json"] ?? "";
    if (typeof reason === "string") expect(said).toBe(reason);
    else expect(said).toMatch(reason);
    expect(said.length).toBeLessThanOrEqual(300);
    expect(directory.lines.filter((line) => line.includes("record rejected"))).toHaveLength(1);
    // Made good, it is taken and no longer complained of.
    directory.put(recordOf(9), recordOf(2));
    expect(directory.look()).toEqual({ records: 3, rejected: 0 });
    expect(directory.refused).toEqual({});
  });

  test("all of them at once", () => {
    using directory = new Directory();
    directory.put(recordOf(1));
    for (const [i, [, content]] of hostile.entries()) writeFileSync(directory.file(`bad-${i}.json`), content);
    expect(directory.look()).toEqual({ records: 1, rejected: hostile.length });
    expect(directory.peers).toEqual({ "node-1": "directory" });
    const lines = directory.lines.filter((line) => line.startsWith("warn"));
    expect(lines).toHaveLength(11);
    expect(directory.lines.at(-1)).toContain(`and ${hostile.length - 10} more`);
  });

  test("what is no regular file is not waited for or followed", () => {
    using directory = new Directory();
    directory.put(recordOf(1));
    Bun.spawnSync(["mkfifo", directory.file("fifo.json")]);
    mkdirSync(directory.file("directory.json"));
    mkdirSync(directory.file("elsewhere"));
    writeFileSync(directory.file("elsewhere/node-2"), JSON.stringify(recordOf(2)));
    symlinkSync(directory.file("elsewhere/node-2"), directory.file("node-2.json"));
    symlinkSync("/dev/zero", directory.file("zero.json"));
    symlinkSync(directory.file("nowhere"), directory.file("dangling.json"));
    using _socket = Bun.listen({ unix: directory.file("socket.json"), socket: { data() {} } });
    expect(directory.look()).toEqual({ records: 1, rejected: 6 });
    for (const name of ["fifo", "directory", "node-2", "zero", "dangling", "socket"])
      expect(directory.refused[`${name}.json`]).toStartWith("it is not a regular file");
    expect(directory.peers).toEqual({ "node-1": "directory" });
  });

  test("names that no node has, as they may be shown", () => {
    using directory = new Directory();
    directory.put(recordOf(1));
    writeFileSync(directory.file("\u001b[31mred\n.json"), JSON.stringify(recordOf(2)));
    writeFileSync(directory.file("\\u001b[31mred\\n.json"), JSON.stringify(recordOf(3)));
    writeFileSync(
      Buffer.concat([Buffer.from(`${directory.path}/`), Buffer.from([255]), Buffer.from(".json")]),
      "{}",
    );
    directory.look();
    expect(Object.keys(directory.refused).sort()).toEqual([
      "\\\\u001b[31mred\\\\n.json",
      "\\u001b[31mred\\n.json",
      "\ufffd.json",
    ]);
    expect(directory.refused["\\u001b[31mred\\n.json"]).toBe(
      "it holds the record of node-2: call it node-2.json",
    );
    expect(directory.peers).toEqual({ "node-1": "directory" });
  });

  test.skipIf(process.getuid?.() !== 0)(
    "a file that may not be read (needs root, to become another user)",
    () => {
      using directory = new Directory();
      directory.put(recordOf(1), recordOf(2));
      chmodSync(`${directory.path}/..`, 0o755);
      chmodSync(directory.file("node-2.json"), 0o600);
      const reader = new RecordReader(directory.path, own.name);
      process.seteuid?.(65_534);
      try {
        const { entries } = reader.read(0, () => new Set());
        expect(entries.get("node-2")).toMatchObject({
          ...{ state: "rejected", reason: "it cannot be read: EACCES (Permission denied)" },
        });
        expect(entries.get("node-1")).toMatchObject({ state: "valid", record: recordOf(1) });
      } finally {
        process.seteuid?.(0);
      }
    },
  );

  test("random bytes and damaged records give a verdict, never a failure", () => {
    const random = makeRandom(1);
    const whole = new TextEncoder().encode(JSON.stringify(recordOf(1)));
    for (let i = 0; i < 3000; i++) {
      const bytes =
        random() < 0.3
          ? new Uint8Array(random() * 200)
          : whole.slice(0, random() < 0.5 ? whole.length : random() * whole.length);
      for (let n = random() * 6; n > 0 && bytes.length > 0; n--)
        bytes[Math.floor(random() * bytes.length)] = random() * 256;
      const verdict = judgeRecord("node-1.json", new TextDecoder().decode(bytes), own.name);
      if ("record" in verdict) expect(verdict.record.name).toBe("node-1");
      else expect(verdict.reason).toMatch(/^[^\p{C}]{5,300}$/u);
    }
  });
});

describe("what two claim, the first has", () => {
  const cases: readonly [what: string, thief: Partial<NodeRecord>, reason: RegExp][] = [
    ["another's key", { slots: recordOf(1).slots }, /^key \S+ of node-0a is already node-1's$/],
    [
      "another's CIDR",
      { podCIDRs: ["10.0.1.0/24"] },
      /^pod CIDR 10.0.1.0\/24 of node-0a is already node-1's$/,
    ],
    [
      "a part of another's CIDR",
      { podCIDRs: ["10.0.1.128/25"] },
      /overlaps 10.0.1.0\/24, which is already node-1's$/,
    ],
    [
      "a CIDR around another's",
      { podCIDRs: ["10.0.0.0/16"] },
      /overlaps 10.0.1.0\/24, which is already node-1's$/,
    ],
    [
      "a CIDR around another's address",
      { podCIDRs: ["198.18.0.0/24"] },
      /overlaps 198.18.0.1\/32, which is already node-1's$/,
    ],
    [
      "another's address",
      { nodeIPs: ["198.18.0.1"] },
      /^node IP 198.18.0.1\/32 of node-0a is already node-1's$/,
    ],
    ["our own key", { slots: own.slots }, /^key \S+ of node-0a is already node-0's$/],
    [
      "our own CIDR",
      { podCIDRs: ["10.200.0.0/24"] },
      /^pod CIDR 10.200.0.0\/24 of node-0a is already node-0's$/,
    ],
    [
      "a CIDR around our own",
      { podCIDRs: ["fd00::/16"] },
      /overlaps fd00:200::\/64, which is already node-0's$/,
    ],
    [
      "our own address",
      { nodeIPs: ["2001:db8::100"] },
      /^node IP 2001:db8::100\/128 of node-0a is already node-0's$/,
    ],
    [
      "our own address as endpoint",
      { endpoints: ["192.0.2.100"] },
      /^endpoint 192.0.2.100 of node-0a is already node-0's$/,
    ],
    [
      "our own address in a CIDR",
      { podCIDRs: ["192.0.2.0/24"] },
      /overlaps 192.0.2.100\/32, which is already node-0's$/,
    ],
  ];

  // The thief's name comes before the owner's, so that order by name does not help.
  test.each(cases)("%s", (_, change, reason) => {
    using directory = new Directory();
    directory.put(recordOf(1));
    directory.look();
    const { peers: before } = directory.resolve();
    const thief = { ...recordOf(5), name: "node-0a", ...change };
    directory.put(thief);
    // The record as such is well formed: it is a peer, and what it claims is weighed.
    expect(directory.look()).toEqual({ records: 2, rejected: 0 });
    const { peers, refusals } = directory.resolve();
    expect(refusals.length).toBeGreaterThan(0);
    for (const refusal of refusals) expect(refusal.reason).toMatch(reason);
    expect(peers.filter(({ name }) => name === "node-1")).toEqual([...before]);
    const had = { ...thief, slots: [], podCIDRs: [], nodeIPs: [], endpoints: [] };
    const got = peers.find(({ name }) => name === "node-0a");
    for (const key of Object.keys(change) as (keyof typeof had)[])
      expect(got?.[key]).toEqual(had[key] as never);
    // Rewriting its file does not make the owner's claim a later one.
    directory.put(recordOf(1, { endpoints: ["198.18.0.1", "198.18.66.1"] }));
    directory.look();
    expect(directory.resolve().refusals).toEqual(refusals);
  });

  test("the second has it as soon as the first lets go, and a new agent on the store decides the same", () => {
    using directory = new Directory();
    directory.put(recordOf(2));
    directory.look();
    directory.put(recordOf(1, { podCIDRs: recordOf(2).podCIDRs }));
    directory.look();
    const owner = () =>
      directory.resolve().peers.find(({ podCIDRs }) => podCIDRs.includes("10.0.2.0/24"))?.name;
    expect(owner()).toBe("node-2");
    directory.look("");
    directory.look();
    expect(owner()).toBe("node-2");
    unlinkSync(directory.file("node-2.json"));
    directory.look();
    expect(owner()).toBe("node-1");
  });
});
