// Commands that are killed at any moment leave nothing that the next sync does
// not put right; commands at the same time wait for each other; a state directory
// that meets a new network namespace, as after a reboot, is programmed anew by
// the first ADD.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NodeRecord } from "../../../src/net/record.ts";
import { Lab } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";
import { binary, repository } from "../../lab/paths.ts";
import { readConfList } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeRandom, pick } from "../../plan/random.ts";
import {
  addNode,
  addressing,
  hostFacts,
  importPeers,
  keyOf,
  killBehind,
  missing,
  paperRecord,
  routeLines,
  ruleLines,
  settledDump,
  tables,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(180_000);

const crashes = 50;
/** About as long as the commands below run. */
const longestMs = 90;
/** Its process ends later than its device; a new one would find its socket in use. */
const afterwards = "while [ -e /run/wireguard/wg-cni-b.sock ]; do sleep 0.01; done";
/** Another one is tried by SEED=7. */
const seed = Number(process.env["SEED"] ?? 20);

/** How many rules of ours a family has. */
const rules = { 4: 8, 6: 6 } as const;

describe.skipIf(missing !== undefined)("crash", () => {
  const lab = withLab("crash");
  let n1: Node;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    await wgMust(n1, ["up", ...n1.upArguments]);
  });

  /** The command alone is killed, not what it started: a crash, not the end of a session. */
  function runKilled(args: readonly string[], afterMs: number, stdin: string): number {
    const limit = ["timeout", "--foreground", "-s", "KILL", (afterMs / 1000).toFixed(4)];
    return n1.exec([...limit, binary, ...args], { stdin }).exitCode;
  }

  /** Compares the node's intent with the kernel. */
  async function expectAsToldBy(listed: readonly NodeRecord[]): Promise<void> {
    const own = await wgJson<NodeRecord>(n1, ["node", "show"]);
    const dump = wgDump(n1);
    for (const [i, dev] of (["wg-cni-a", "wg-cni-b"] as const).entries()) {
      expect(dump[dev]?.publicKey).toBe(own.slots[i]!.publicKey);
      const peers = listed.map((peer): [string, string[]] => [
        peer.slots[i]!.publicKey,
        [...peer.podCIDRs, `${peer.nodeIPs[0]}/32`].sort(),
      ]);
      const there = Object.entries(dump[dev]!.peers).map(([key, { allowedIPs }]) => [key, allowedIPs]);
      expect(Object.fromEntries(there)).toEqual(Object.fromEntries(peers));
    }
    expect(routeLines(n1, 4, tables.hosts)).toHaveLength(listed.length);
    const podRoutes = listed.reduce((sum, { podCIDRs }) => sum + podCIDRs.length, 1);
    expect(routeLines(n1, 4, tables.pods)).toHaveLength(podRoutes);
    for (const family of [4, 6] as const) expect(ruleLines(n1, family)).toHaveLength(rules[family]);
  }

  test(`${crashes} commands killed at any moment: the next sync finishes what they began`, async () => {
    const random = makeRandom(seed);
    const { slots } = await wgJson<NodeRecord>(n1, ["node", "show"]);
    let killed = 0;
    for (let round = 0; round < crashes; round++) {
      const peers = Array.from({ length: 10 }, (_, i) => paperRecord(i + 1)).map((record) => ({
        ...record,
        podCIDRs: record.podCIDRs.filter(() => random() < 0.7),
      }));
      const [damage, args] = pick<[string, string[]]>(random, [
        [killBehind("wg-cni-a"), ["sync"]],
        [`ip link delete wg-cni-b; ${afterwards}; ip rule flush priority 98 || true`, ["sync"]],
        ["ip route flush table 18099; ip address flush dev wg-cni-a", ["up"]],
        [`wg set wg-cni-a peer ${keyOf(99)} allowed-ips 10.0.0.0/8`, ["peer", "import", "-"]],
        ["true", ["peer", "import", "-"]],
        ["true", ["down"]],
        [`${binary} down >/dev/null`, ["up", ...n1.upArguments]],
      ]);
      n1.script([damage]);
      const code = runKilled(args, 10 + random() * longestMs, JSON.stringify(peers));
      // 124 and 137 are timeout(1)'s for a command that it killed; 3 is that of a sync on a node that is down.
      expect([0, 3, 124, 137]).toContain(code);
      if (code > 3) killed++;
      const what = `round ${round}: ${args.join(" ")} after ${damage}`;
      const report = await n1.wg(["sync", "--json"]);
      expect(`${what}: ${report.exitCode !== 1 ? "as desired" : report.stdout}`).toBe(`${what}: as desired`);
      expect(await wgJson(n1, ["sync"])).toMatchObject({ writes: 0, steps: [], failures: [] });
      const status = JSON.parse((await n1.wg(["status", "--json"])).stdout) as { up: boolean };
      if (!status.up) {
        // Killed before `up` was noted, or after `down` was: the node is down, wholly.
        expect(n1.must(["wg", "show"])).toBe("");
        expect(routeLines(n1, 4, tables.pods)).toEqual([]);
        expect(ruleLines(n1, 4)).toEqual([]);
        expect(n1.must(["sysctl", "-n", "net.ipv4.conf.eth0.src_valid_mark"])).toBe("0\n");
        expect(n1.must(["nft", "list", "tables"])).toBe("");
        await wgMust(n1, ["up"]);
      }
      // An import that was killed has taken all of the records or none.
      const { peers: listed } = await wgJson<{ peers: NodeRecord[] }>(n1, ["peer", "list"]);
      if (args[0] === "peer" && code === 0)
        expect(listed.map(({ podCIDRs }) => podCIDRs)).toEqual(sorted(peers).map(({ podCIDRs }) => podCIDRs));
      await expectAsToldBy(listed);
    }
    expect(killed).toBeGreaterThan(crashes / 5);
    expect((await wgJson<NodeRecord>(n1, ["node", "show"])).slots).toEqual(slots);
  });

  test("syncs, imports and ups at the same time all succeed, and agree", async () => {
    const records = [1, 2, 3].map((index) => paperRecord(index));
    await importPeers(n1, records);
    const [facts, dump] = [hostFacts(n1), settledDump(n1)];
    for (let round = 0; round < 3; round++) {
      n1.script([
        killBehind("wg-cni-a"),
        "ip link delete wg-cni-b",
        afterwards,
        "ip rule delete priority 98",
      ]);
      const done = await Promise.all([
        n1.wg(["sync"]),
        n1.wg(["sync"]),
        n1.wg(["up"]),
        n1.wg(["peer", "import", "-"], { stdin: JSON.stringify(records) }),
        n1.wg(["sync"]),
      ]);
      expect(done.map(({ exitCode, stderr, stdout }) => (exitCode === 0 ? "" : stderr + stdout))).toEqual(
        done.map(() => ""),
      );
      const names = (all: readonly string[]) => all.filter((line) => !line.startsWith("wg-cni-"));
      expect(names(hostFacts(n1))).toEqual(names(facts));
      expect(settledDump(n1)).toEqual(dump);
    }
  });
});

describe.skipIf(missing !== undefined)("another network namespace, the same state", () => {
  const storage = mkdtempSync(join(tmpdir(), "wg-cni-mesh-"));
  const labs: Lab[] = [];
  afterAll(() => {
    for (const lab of labs) lab[Symbol.dispose]();
    rmSync(storage, { recursive: true, force: true });
  });

  async function boot(): Promise<Node> {
    const lab = await Lab.create("reboot");
    labs.push(lab);
    return lab.node("n1", { ...addressing(1), storage });
  }

  test("the first ADD programs the mesh", async () => {
    const list = readConfList(`${repository}/conf/10-ptp.conflist`);
    const first = await boot();
    await wgMust(first, ["up", ...first.upArguments, "--seal-key-file", "/var/lib/seal.key"]);
    await importPeers(first, [paperRecord(1), paperRecord(2)]);
    await first.runtime.add(list, first.pod("before"));
    const dump = settledDump(first);
    labs[0]![Symbol.dispose]();

    const second = await boot();
    expect(second.must(["wg", "show"])).toBe("");
    const pod = second.pod("after");
    await second.runtime.add(list, pod);
    expect(settledDump(second)).toEqual(dump);
    for (const family of [4, 6] as const) expect(ruleLines(second, family)).toHaveLength(rules[family]);
    expect(routeLines(second, 4, tables.pods)).toContain(`throw ${pod.ip(4)} proto 118 scope global`);
    expect(await wgJson(second, ["sync"])).toMatchObject({ writes: 0, steps: [] });
    // The next pod finds it done.
    const before = settledDump(second);
    await second.runtime.add(list, second.pod("later"));
    expect(settledDump(second)).toEqual(before);
  });
});

function sorted(records: readonly NodeRecord[]): NodeRecord[] {
  return records.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
