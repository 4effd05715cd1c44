// The private keys are in the kernel's devices, and sealed in the store:
// nowhere else, in no spelling. Without the seal key nothing is made up.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Node } from "../../lab/node.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addNode,
  devices,
  importPeers,
  killBehind,
  missing,
  paperRecord,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

const sealKey = "/etc/wg-cni/seal.key";

describe.skipIf(missing !== undefined)("private keys", () => {
  const lab = withLab("sealing");
  let n1: Node;
  let record: NodeRecord;
  /** Every spelling of the two private keys and of the seal key. */
  let secrets: Buffer[];
  const said: string[] = [];

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    await say(["up", ...n1.upArguments]);
    await importPeers(n1, [paperRecord(1)]);
    record = await wgJson<NodeRecord>(n1, ["node", "show"]);
    const keys = Object.values(wgDump(n1)).map(({ privateKey }) => Buffer.from(privateKey, "base64"));
    keys.push(readFileSync(n1.outsidePath(sealKey)));
    expect(keys.map((key) => key.length)).toEqual([32, 32, 32]);
    secrets = keys.flatMap((key) => [
      key,
      ...[key.toString("hex"), key.toString("hex").toUpperCase()].map((text) => Buffer.from(text)),
      // Without the last characters, which depend on what follows.
      ...[key.toString("base64"), key.toString("base64url")].map((text) => Buffer.from(text.slice(0, 42))),
    ]);
  });

  /** Runs a command both ways and keeps all that it said. */
  async function say(args: readonly string[]): Promise<number> {
    const text = await n1.wg(args);
    const json = await n1.wg([...args, "--json"]);
    expect(JSON.parse(json.stdout)).toBeObject();
    said.push(text.stdout, text.stderr, json.stdout, json.stderr);
    return text.exitCode;
  }

  test("are read and used: the devices have the public keys of the record", () => {
    const dump = wgDump(n1);
    for (const [i, dev] of devices.entries()) expect(dump[dev]?.publicKey).toBe(record.slots[i]!.publicKey);
  });

  test("are in no file of the node but the seal key's own", () => {
    const directories = ["/var/lib", "/run", "/etc"].map((directory) => n1.outsidePath(directory));
    const files = directories.flatMap((directory) =>
      readdirSync(directory, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => `${entry.parentPath}/${entry.name}`),
    );
    const names = files.map((file) => file.slice(file.lastIndexOf("/") + 1));
    expect(names).toContain("state.db");
    for (const file of files.filter((path) => !path.endsWith(sealKey))) {
      const bytes = readFileSync(file);
      for (const secret of secrets) expect(`${file} ${bytes.includes(secret)}`).toBe(`${file} false`);
    }
    const state = readdirSync(n1.outsidePath(n1.stateDir)).filter((name) => name.startsWith("state.db"));
    expect(state.length).toBeGreaterThan(0);
  });

  test("are in no core dump of the processes behind the devices", () => {
    const filters = n1.must([
      "sh",
      "-c",
      "for p in $(pgrep wireguard-go); do cat /proc/$p/coredump_filter; done",
    ]);
    expect(filters.trim().split("\n")).toEqual(devices.map(() => "00000000"));
  });

  test("are said by no command, also not with devices to be made or when something fails", async () => {
    const commands = [
      "status",
      "plan",
      "sync",
      "node show",
      "peer list",
      "key show",
      "version",
      "up",
      "peer remove nobody",
    ];
    for (const command of commands) await say(command.split(" "));
    n1.script(devices.map(killBehind));
    await say(["plan"]);
    expect(said.join("\n")).toContain("private-key <(key of slot a)");
    n1.script([`mv ${sealKey} ${sealKey}.away`]);
    await say(["sync"]);
    n1.script([`mv ${sealKey}.away ${sealKey}`]);
    await say(["sync"]);
    await say(["down"]);
    await say(["up"]);
    const all = Buffer.from(said.join("\n"));
    expect(all.length).toBeGreaterThan(5000);
    for (const secret of secrets) expect(all.includes(secret)).toBe(false);
  });

  test("the seal key and the store are for root's eyes alone", () => {
    const mode = (path: string) => statSync(n1.outsidePath(path)).mode & 0o777;
    expect(mode(sealKey)).toBe(0o600);
    expect(mode(n1.stateDir)).toBe(0o700);
    expect(mode(`${n1.stateDir}/state.db`)).toBe(0o600);
  });

  const accidents: readonly [what: string, command: string, says: RegExp][] = [
    ["is missing", `rm ${sealKey}`, /seal\.key/],
    ["is another node's", `head -c 32 /dev/urandom >${sealKey}`, /seal/i],
    ["is cut short", `head -c 7 /dev/urandom >${sealKey}`, /seal\.key/],
    ["may be read by other users", `chmod 644 ${sealKey}`, /seal\.key/],
  ];

  test.each(accidents)(
    "if the seal key %s, a device that needs a key stays without, and says why",
    async (_, command, says) => {
      n1.script([`cp -p ${sealKey} /run/kept`, killBehind("wg-cni-a"), command]);
      for (const args of [["sync"], ["up"]]) {
        const done = await n1.wg(args);
        expect(done.exitCode).toBe(1);
        expect(`${done.stdout}${done.stderr}`).toMatch(says);
      }
      // A device that has its key goes on.
      expect(wgDump(n1)["wg-cni-b"]?.publicKey).toBe(record.slots[1]!.publicKey);
      expect(wgDump(n1)["wg-cni-a"]?.publicKey).not.toBe(record.slots[0]!.publicKey);
      // Its keys stay; a slot without a device is withdrawn until it has one again.
      const [a, b] = record.slots;
      const slots = [{ ...a, state: "withdrawn" }, b];
      expect(await wgJson<object>(n1, ["node", "show"])).toEqual({ ...record, slots });
      n1.script([`cp -p /run/kept ${sealKey}; rm /run/kept`]);
      await wgMust(n1, ["sync"]);
      expect(wgDump(n1)["wg-cni-a"]?.publicKey).toBe(record.slots[0]!.publicKey);
      expect(await wgJson<NodeRecord>(n1, ["node", "show"])).toEqual(record);
    },
  );
});
