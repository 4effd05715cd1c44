// The agent repairs whatever another program does to its objects within five seconds, says each damage
// once, and writes nothing while nothing is damaged. The witnesses are ip, wg and nft.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { atPace } from "../../lab/pace.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  type Damage,
  endpointDamage,
  strictDamages,
  toldDamages,
  untoldDamages,
} from "../support/damages.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, hostFacts, settledDump, wgMust } from "../support/mesh-reference.ts";

/** The promise is five seconds: four for a poll, one for the pass. A processor that others use may start the pass late. */
const boundMs = atPace(8000);
/** At least one poll. */
const quietMs = 5000;
/** A second line about a repair would come sooner. */
const lineMs = 100;

const restored = "mesh changed by another process, restored";
const repeated = "repairs of the mesh do not last: another process changes it again";

describeKernel("damage by another program", () => {
  setDefaultTimeout(atPace(30_000));
  const lab = withLab("damage");
  let n1: Node;
  let agent: Agent;
  let well = "";

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    const n2 = await addNode(lab, 2);
    n1.strictReversePath();
    const options = ["--cluster-cidrs", "10.244.0.0/16,fd00:10:244::/48", "--host-encryption", "on"];
    await joinMesh([n1, n2], options);
    agent = await n1.agent({ args: ["--log-level", "debug"] });
    await n2.agent();
    await settle();
  }, 120_000);

  /** All that the agent could have to repair, as sorted lines: chains that are made anew have another order. */
  const facts = () => {
    const texts = [
      ...hostFacts(n1),
      n1.must(["cat", "/proc/sys/net/ipv4/ip_local_reserved_ports"]),
      JSON.stringify(settledDump(n1), undefined, 1),
      ...["inet", "arp"].map((family) => n1.exec(["nft", "-s", "list", "table", family, "wg-cni"]).stdout),
    ];
    return texts.join("\n").split("\n").sort().join("\n");
  };
  /** Waits until the mesh is well and at rest, and remembers it so. */
  const settle = async () => {
    let before = "";
    const isAtRest = async () => {
      const now = facts();
      const isSame = now === before && (await n1.wg(["status"])).exitCode === 0;
      before = now;
      return isSame;
    };
    await waitUntil(isAtRest, { what: () => `a mesh at rest, not ${before}`, everyMs: 500 });
    well = before;
  };
  const repairs = (from: number) =>
    agent
      .lines()
      .slice(from)
      .filter(({ message }) => message === restored || message === repeated);

  const repair = async ({ script }: Damage) => {
    const from = agent.lines().length;
    // A pass in the middle of the damage would have a line of its own.
    agent.freeze();
    n1.script([script]);
    expect(facts()).not.toBe(well);
    const thawedMs = Date.now();
    agent.thaw();
    await waitUntil(() => repairs(from).length > 0, { what: `a line about ${script}` });
    await isWell();
    await Bun.sleep(lineMs);
    const lines = repairs(from);
    expect(lines).toEqual([expect.objectContaining({ level: "warn" })]);
    // By the agent's word, since reading all facts takes a while, too.
    expect(Date.parse(lines[0]?.time ?? "") - thawedMs).toBeLessThan(boundMs);
  };
  const isWell = () => waitUntil(() => facts() === well, { what: () => differences(well, facts()) });

  test("nothing is written while nothing is damaged", async () => {
    const from = agent.lines().length;
    await Bun.sleep(quietMs);
    expect(
      agent
        .lines()
        .slice(from)
        .map(({ message }) => message),
    ).toEqual([]);
  });

  test.each([...toldDamages, ...untoldDamages])("is repaired: $what", repair);

  test("is repaired while the peer sends nothing: another endpoint", async () => {
    let before = "";
    const isSilent = () => {
      const now = n1.must(["sh", "-c", "wg show wg-cni-b transfer | cut -f 2"]);
      const isSame = now === before;
      before = now;
      return isSame;
    };
    // Long enough for the agent to have read the same.
    await waitUntil(isSilent, {
      what: "a peer that sends nothing",
      everyMs: boundMs,
      timeoutMs: 10 * boundMs,
    });
    await repair(endpointDamage);
  }, 120_000);

  test("an uplink that becomes strict, or no longer is, gets its marks checked, or no longer", async () => {
    const setFilter = (filter: number) =>
      n1.script(["all", "eth0"].map((dev) => `echo ${filter} >/proc/sys/net/ipv4/conf/${dev}/rp_filter`));
    const marks = () => n1.must(["cat", "/proc/sys/net/ipv4/conf/eth0/src_valid_mark"]).trim();
    setFilter(2);
    await waitUntil(() => marks() === "0", { what: "marks that do not matter any more" });
    setFilter(1);
    await isWell();
  });

  test("damage that is repeated is said twice, not at each repair", async () => {
    const from = agent.lines().length;
    const isRemoved = () => !n1.must(["ip", "route", "show", "table", "18099"]).includes("198.18.");
    for (let round = 1; round <= 4; round++) {
      n1.script([`ip route add blackhole 198.18.${round}.0/24 table 18099`]);
      await waitUntil(isRemoved, { what: "a repair" });
    }
    await isWell();
    await Bun.sleep(lineMs);
    const lines = repairs(from).filter(({ first }) => String(first).includes("blackhole"));
    expect(lines.map(({ message }) => message)).toEqual([restored, repeated]);
  });

  test("a change that the kernel refuses is said once, and is no change", async () => {
    const filter = "/proc/sys/net/ipv4/conf/wg-cni-a/rp_filter";
    agent.freeze();
    const from = agent.lines().length;
    n1.script([
      `echo 1 >${filter}`,
      `mount --bind ${filter} ${filter}`,
      `mount -o remount,bind,ro ${filter}`,
    ]);
    agent.thaw();
    const missing = "host lacks a capability";
    await agent.waitFor(missing, undefined, from);
    await Bun.sleep(quietMs);
    const said = agent
      .lines()
      .slice(from)
      .filter(({ level }) => level !== "debug");
    expect(said.filter(({ message }) => message.startsWith(missing))).toHaveLength(1);
    expect(repairs(from)).toEqual([]);
    n1.script([`umount ${filter}`]);
    // Something that the kernel tells of has the agent try again.
    n1.script([
      "echo 2 >/proc/sys/net/ipv4/conf/lo/rp_filter",
      "echo 0 >/proc/sys/net/ipv4/conf/lo/rp_filter",
    ]);
    await isWell();
  });

  test("in strict mode too", async () => {
    await wgMust(n1, ["up", "--mode", "strict"]);
    await settle();
    for (const damage of strictDamages) await repair(damage);
  }, 120_000);
}, ["wg", "wireguard-go", "nft"]);

/** The lines that two texts do not share. */
function differences(wanted: string, found: string): string {
  const [a, b] = [wanted.split("\n"), found.split("\n")];
  return [
    ...a.filter((line) => !b.includes(line)).map((line) => `- ${line}`),
    ...b.filter((line) => !a.includes(line)).map((line) => `+ ${line}`),
  ].join("\n");
}
