// Records on their way in and out: `peer import` takes all or nothing and says
// where it stopped; what is shown is stable, as text and as JSON.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type { NodeRecord } from "../../src/net/record.ts";
import { Store } from "../../src/state/store.ts";
import { expectGolden } from "./golden.ts";
import { run, StateDirectory } from "./terminal.ts";

const key = (n: number) => Buffer.alloc(32, n).toString("base64");

function record(index: number, change: Partial<NodeRecord> = {}): NodeRecord {
  const [high, low] = [index >> 8, index & 255];
  // Four bytes of number, the rest filled: unlike any other's.
  const slotKey = (slot: number) => {
    const bytes = Buffer.alloc(32, 7 + slot);
    bytes.writeUInt32BE(index);
    return bytes.toString("base64");
  };
  return {
    name: `node-${index}`,
    slots: [
      { slot: "a", publicKey: slotKey(0), port: 51820, state: "active" },
      { slot: "b", publicKey: slotKey(1), port: 51821, state: "draining" },
    ],
    endpoints: [`198.18.${high}.${low}`],
    nodeIPs: [`198.18.${high}.${low}`],
    podCIDRs: [`10.${high}.${low}.0/24`],
    ...change,
  };
}

let directory: StateDirectory;

beforeEach(() => {
  directory = new StateDirectory();
});
afterEach(() => directory[Symbol.dispose]());

/** A node that has an identity and is down, so that nothing depends on the kernel. */
function makeIdentity(): void {
  using store = Store.open(directory.path, "boot");
  store.putSetting("backend", "userspace");
  store.putSetting("mtu", 1420);
  store.putIdentity({
    name: "node-0",
    endpoints: ["192.0.2.1"],
    nodeIPs: ["192.0.2.1", "2001:db8::1"],
    podCIDRs: ["10.200.0.0/24"],
    up: false,
    endpointsFound: false,
    nodeIPsFollow: false,
    slots: [
      { slot: "a", createdAtMs: 1, publicKey: key(1), sealedPrivateKey: new Uint8Array(72), state: "active" },
      {
        slot: "b",
        createdAtMs: 1,
        publicKey: key(2),
        sealedPrivateKey: new Uint8Array(72),
        state: "draining",
      },
    ],
  });
}

/** Stores what an agent has found in the records directory. */
function fromDirectory(records: readonly NodeRecord[], refused: Readonly<Record<string, string>>): void {
  using store = Store.open(directory.path, "boot");
  store.putPeers(records, "directory");
  store.putRejectedRecords(Object.entries(refused).map(([file, reason]) => ({ file, reason })));
}

const imported = (json: unknown) => run(["peer", "import", "-", ...directory.flag], JSON.stringify(json));
const names = async () =>
  (
    JSON.parse((await run(["peer", "list", "--json", ...directory.flag])).stdout) as { peers: NodeRecord[] }
  ).peers.map(({ name }) => name);

describe("peer import", () => {
  test("takes one record, a list, a file, standard input; the node's own is left out", async () => {
    makeIdentity();
    expect(await imported(record(1))).toEqual({
      exitCode: 0,
      stdout: "Imported 1 peer from standard input; the node is not up, so nothing is programmed yet\n",
      stderr: "",
    });
    const file = `${directory.path}/records.json`;
    writeFileSync(file, JSON.stringify([record(2), record(3), record(0)]));
    const done = await run(["peer", "import", file, "--json", ...directory.flag]);
    expect(JSON.parse(done.stdout)).toEqual({ imported: ["node-2", "node-3"] });
    expect(await names()).toEqual(["node-1", "node-2", "node-3"]);
  });

  const bad: readonly [what: string, json: unknown, says: string | RegExp][] = [
    [
      "a CIDR that is none",
      [record(2), record(3, { podCIDRs: ["10.1/16"] })],
      'peers[1].podCIDRs[0]: "10.1/16" is not a CIDR',
    ],
    [
      "a CIDR of everything",
      [record(2, { podCIDRs: ["0.0.0.0/0"] })],
      "peers[0].podCIDRs[0]: 0.0.0.0/0 is everything",
    ],
    [
      "overlapping CIDRs",
      [record(2, { podCIDRs: ["10.0.0.0/8", "10.1.0.0/16"] })],
      "10.1.0.0/16 overlaps 10.0.0.0/8",
    ],
    ["a name twice", [record(2), record(2)], "the name node-2 is there twice"],
    ["a key twice", [record(2), record(3, { slots: record(2).slots })], /the public key \S+ is there twice/],
    [
      "a name that is none",
      [record(2), record(3, { name: "Node 3" })],
      'peers[1].name: "Node 3" is not a node name',
    ],
    [
      "a short key",
      [record(2, { slots: [{ slot: "a", publicKey: "AAAA", port: 1, state: "active" }] })],
      "peers[0].slots[0].publicKey",
    ],
    [
      "a port that is none",
      [{ ...record(2), slots: [{ ...record(2).slots[0], port: 0 }] }],
      "peers[0].slots[0].port: 0 is not a UDP port",
    ],
    [
      "a slot twice",
      [{ ...record(2), slots: [record(2).slots[0], { ...record(3).slots[0] }] }],
      'slot "a" is there twice',
    ],
    ["a misspelt key", [{ ...record(2), podCidrs: [] }], 'unknown key "podCidrs"; did you mean "podCIDRs"?'],
    ["a loopback endpoint", [record(2, { endpoints: ["127.0.0.1"] })], "127.0.0.1 is a loopback address"],
    ["a record that is none", [record(2), 7], "peers[1]: must be an object, not 7"],
    ["null", null, "peer: must be an object, not null"],
  ];

  test.each(bad)("takes nothing if there is %s", async (_, json, says) => {
    await imported(record(1));
    const done = await imported(json);
    expect(done.exitCode).toBe(2);
    if (typeof says === "string") expect(done.stderr).toContain(says);
    else expect(done.stderr).toMatch(says);
    expect(await names()).toEqual(["node-1"]);
  });

  test("says what is wrong with the source", async () => {
    const from = (words: string[], stdin = "") => run(["peer", "import", ...words, ...directory.flag], stdin);
    expect((await from(["/nowhere/records.json"])).stderr).toBe(
      "wg-cni: there is no file /nowhere/records.json\n",
    );
    expect((await from(["-"], " \n")).stderr).toContain("standard input is empty");
    expect(await from(["-"], "{")).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("is not JSON"),
    });
    expect((await from(["-"], " ".repeat(65 * 1024 * 1024))).stderr).toContain("larger than 64 MiB");
  });

  test("10,000 peers, and the same again changes nothing", async () => {
    const many = Array.from({ length: 10_000 }, (_, i) => record(i + 1));
    expect((await imported(many)).exitCode).toBe(0);
    expect(await names()).toHaveLength(10_000);
    using store = Store.open(directory.path, "boot");
    const { generation } = store;
    expect((await imported(many)).exitCode).toBe(0);
    expect(store.generation).toBe(generation);
  }, 60_000);
});

describe("what is shown", () => {
  test("if the node was never up", async () => {
    for (const command of ["node show", "key show", "sync", "plan", "down"]) {
      const done = await run([...command.split(" "), ...directory.flag]);
      expect(done).toMatchObject({ exitCode: 1, stdout: "" });
      expect(done.stderr).toMatch(/^wg-cni: This node .*\n$/);
    }
    const status = await run(["status", ...directory.flag]);
    expect(status.exitCode).toBe(3);
    expectGolden("status-never-up", status.stdout);
    expect((await run(["peer", "list", ...directory.flag])).stdout).toContain("no peers");
  });

  test("node, keys, peers and their refusals, status: texts and JSON", async () => {
    makeIdentity();
    await imported([record(1), record(2, { podCIDRs: ["10.9.0.0/16", "fd00:2::/64"] })]);
    await imported([record(3, { podCIDRs: ["10.9.1.0/24"] })]);
    fromDirectory([record(4, { slots: [], endpoints: [] })], {
      "node-2-old.json": "it holds the record of node-2: call it node-2.json",
      "node-4.json": "it is not JSON (Unexpected EOF); the record taken before stays",
    });
    const commands = ["node show", "key show", "peer list", "plan", "status"];
    for (const command of commands) {
      const words = [...command.split(" "), ...directory.flag];
      const [text, json] = [await run(words), await run([...words, "--json"])];
      expect([text.exitCode, json.exitCode]).toEqual(command === "status" ? [3, 3] : [0, 0]);
      // The age of a key grows with the calendar.
      expectGolden(`${command.replace(" ", "-")}.output`, text.stdout.replace(/\d+ d ago/g, "N d ago"));
      expectGolden(`${command.replace(" ", "-")}.json`, json.stdout);
      expect(JSON.parse(json.stdout)).toBeObject();
    }
    const coloured = await run(["status", ...directory.flag], "", true);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
    expect(coloured.stdout.replace(/\x1b\[\d+m/g, "")).toBe(
      (await run(["status", ...directory.flag])).stdout,
    );
  });

  test("peer remove", async () => {
    await imported([record(1), record(2)]);
    const remove = (name: string) => run(["peer", "remove", name, ...directory.flag]);
    expect((await remove("node-3")).stderr).toMatch(/there is no peer "node-3"; did you mean "node-[12]"\?/);
    expect((await remove("somebody")).stderr).toBe(
      'wg-cni: there is no peer "somebody"; there are 2 peers\n',
    );
    expect(await remove("node-2")).toMatchObject({ exitCode: 0 });
    expect(await names()).toEqual(["node-1"]);
    fromDirectory([record(1)], {});
    expect((await remove("node-1")).stdout).toContain("node-1.json");
  });

  test("a records directory that cannot be used is said to be one, by peer list and status", async () => {
    makeIdentity();
    const sentence = "Cannot read the records directory /srv/records: ENOENT (No such file or directory).";
    fromDirectory([], { "/srv/records": sentence });
    const list = (await run(["peer", "list", ...directory.flag])).stdout;
    expect(list).toContain(`\n/srv/records     ${sentence}\n`);
    expect((await run(["status", ...directory.flag])).stdout).toContain(`\n! ${sentence}\n`);
  });
});
