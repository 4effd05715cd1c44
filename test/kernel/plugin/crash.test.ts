// ADD and DEL are killed with SIGKILL at seeded random moments, chained and
// standalone at the same time, as kubelet does at its deadline. Whatever was
// half made, the next DEL takes it away: nothing is left in the kernel, the
// store or the pod, and no address is lost.

import { beforeAll, expect, test } from "bun:test";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { pluginEnv, type Verb } from "../../lab/runtime.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeRandom } from "../../plan/random.ts";
import { attachByHand } from "../support/by-hand.ts";
import { describeKernel } from "../support/gate.ts";
import { call, succeed } from "../support/plugin.ts";
import { noRows, rows, snapshot } from "../support/reference.ts";

const seed = Number(process.env["WG_CNI_TEST_SEED"] ?? 4711);
const wantedKills = 200;
/** Of each verb in each role. */
const leastOfAKind = 10;
/** Of both roles at once, before everything is looked at. */
const roundsPerBatch = 12;
const maxBatches = 40;

interface Role {
  readonly name: string;
  readonly pod: Pod;
  readonly conf: object;
  readonly random: () => number;
  /** How long a call lives that nobody kills, in milliseconds: followed as the machine's load changes. */
  usualMs: { ADD: number; DEL: number };
  kills: { ADD: number; DEL: number };
  rounds: number;
}

describeKernel(`killed at random (seed ${seed})`, () => {
  const lab = withLab("crash");
  let node: Node;
  const roles: Role[] = [];

  beforeAll(async () => {
    node = await lab.node("n1", {
      ip4: "192.0.2.1",
      ip6: "2001:db8::1",
      podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
    });
    await joinMesh([node]);
    const plain = { type: "wg-cni", cniVersion: "1.0.0" };
    const [a, b] = [node.pod("chained"), node.pod("standalone")];
    const ips = [
      { address: "10.9.0.5/24", gateway: "10.9.0.1" },
      { address: "fd00:9::5/64", gateway: "fd00:9::1" },
    ];
    const prevResult = attachByHand(a, "1.0.0", { hostDev: "veth-a", ips });
    a.script(["ip route add 10.50.0.0/16 via 10.9.0.1 mtu 1490"]);
    roles.push(role("chained", a, { ...plain, name: "pods", prevResult }, 1));
    roles.push(role("standalone", b, { ...plain, name: "own", ipam: {} }, 2));
    for (const each of roles) {
      const usual = await measure(each);
      each.usualMs = { ADD: usual, DEL: usual };
    }
  });
  test(`${wantedKills} kills leave nothing behind`, async () => {
    const baseline = look();
    const counts = () => roles.flatMap((each) => Object.values(each.kills));
    const kills = () => counts().reduce((a, b) => a + b, 0);
    const enough = () => kills() >= wantedKills && Math.min(...counts()) > leastOfAKind;
    for (let batch = 0; !enough() && batch < maxBatches; batch++) {
      await Promise.all(roles.map(playBatch));
      expect(look()).toEqual(baseline);
    }
    console.log(
      roles
        .map(({ name, kills, rounds }) => `${name}: ${rounds} rounds, killed ${JSON.stringify(kills)}`)
        .join("; "),
    );
    expect(kills()).toBeGreaterThanOrEqual(wantedKills);
    expect(Math.min(...counts())).toBeGreaterThan(leastOfAKind);
  }, 120_000);

  test("the mesh needs nothing after it, and pods work as ever", async () => {
    const plan = await node.wg(["plan", "--json"]);
    expect(JSON.parse(plan.stdout)).toMatchObject({ steps: [] });
    const before = look();
    expect((await node.wg(["sync"])).exitCode).toBe(0);
    expect(look()).toEqual(before);
    for (const { pod, conf } of roles) {
      const { json } = await succeed(node, "ADD", conf, pod);
      await succeed(node, "CHECK", { ...conf, prevResult: json }, pod);
      await succeed(node, "DEL", conf, pod);
    }
    expect(look()).toEqual(before);
  });

  /** Everything that a pod could leave; the store must be without rows and undamaged. */
  function look(): string[][] {
    expect(rows(node)).toEqual(noRows);
    return [snapshot(node), ...roles.map(({ pod }) => snapshot(pod))];
  }

  async function playBatch(each: Role): Promise<void> {
    for (let i = 0; i < roundsPerBatch; i++) await playRound(each);
  }

  /** One container's life, with one or two violent ends. */
  async function playRound(each: Role): Promise<void> {
    const { random, pod, conf } = each;
    const options = { env: { CNI_CONTAINERID: `${each.name}-${++each.rounds}` } };
    await callAndKill(each, "ADD", options.env);
    const what = random();
    // A runtime may try again; where the first try left an interface, that is refused.
    if (what < 0.2) {
      const again = await call(node, "ADD", conf, pod, options);
      if (again.exitCode !== 0) expect([each.name, again.json.code]).toEqual(["standalone", 103]);
    }
    if (what > 0.3) await callAndKill(each, "DEL", options.env);
    await succeed(node, "DEL", conf, pod, options);
  }

  async function callAndKill(each: Role, verb: "ADD" | "DEL", env: Record<string, string>): Promise<void> {
    const { pod, conf, random, usualMs, kills } = each;
    const running = node.start([binary], {
      stdin: JSON.stringify(conf),
      env: { ...pluginEnv(verb, pod), ...env },
    });
    await Bun.sleep(usualMs[verb] * (0.3 + 0.8 * random()));
    running.signal("SIGKILL");
    const { stdout, exitCode } = await running.finished;
    const ended = exitCode === 0 || stdout !== "";
    if (!ended) kills[verb]++;
    // A call that was faster than the signal says that calls are faster now, and the other way round.
    usualMs[verb] *= ended ? 0.9 : 1.03;
  }

  function role(name: string, pod: Pod, conf: object, salt: number): Role {
    return {
      name,
      pod,
      conf,
      random: makeRandom(seed + salt),
      usualMs: { ADD: 0, DEL: 0 },
      kills: { ADD: 0, DEL: 0 },
      rounds: 0,
    };
  }

  async function measure({ pod, conf }: Role): Promise<number> {
    const times: number[] = [];
    for (let i = 0; i < 3; i++)
      for (const verb of ["ADD", "DEL"] as Verb[])
        times.push((await succeed(node, verb, conf, pod)).milliseconds);
    return times.sort((a, b) => a - b)[2] as number;
  }
}, ["wireguard-go"]);
