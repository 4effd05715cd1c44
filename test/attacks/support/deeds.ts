// What happens to the nodes and their agents while attacks fly (draw.ts).
import type { NodeRecord } from "../../../src/net/record.ts";
import { settledDump, tables, wgDump, wgMust } from "../../kernel/support/mesh-reference.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import { pick, type Random } from "../../plan/random.ts";
import type { Deed } from "./draw.ts";
import type { Hostile } from "./hostile.ts";
import { setHostEncryption } from "./settings.ts";

const rotationMs = 120_000;
/** The attacker uses the old keys to the end. */
const drainSeconds = 15;
const pauseMs = 1000;
const deadManMs = 60_000;

/** Each is noticed and repaired by the agent. */
const damages: readonly string[] = [
  "nft delete table inet wg-cni",
  "for table in wg-cni wg-cni-pods; do nft delete table inet $table; done",
  ...["prerouting", "taken", "input", "arrivals", "forward", "postrouting", "answers"].map(
    (chain) => `nft flush chain inet wg-cni ${chain}`,
  ),
  "nft insert rule inet wg-cni prerouting accept",
  ...["18098", "18099"].map((table) => `ip route flush table ${table}; ip -6 route flush table ${table}`),
  "ip link delete wg-cni-a",
  "ip link delete wg-cni-b",
  "ip link set wg-cni-a down",
  "wg set wg-cni-a peer $(wg show wg-cni-a peers | head -n 1) remove",
];

export class Deeds {
  constructor(
    private readonly nodes: readonly [Node, Node],
    private readonly agents: [Agent, Agent],
    private readonly hostile: Hostile,
    private readonly replay: (random: Random) => Promise<void>,
    /** Lets the control plane answer, or no longer. */
    private readonly controlPlane: (answers: boolean) => void,
  ) {}

  /** Resolves when it is done and undone. */
  async act(deed: Deed, random: Random): Promise<void> {
    const index = pick(random, [0, 1] as const);
    switch (deed) {
      case "restart":
        return this.#restart([index], (agent) => agent.stop());
      case "crash":
        return this.#restart([0, 1], (agent) => agent.kill());
      case "sync":
        await Promise.all(this.nodes.map((node) => wgMust(node, ["sync"])));
        return;
      case "rotate":
        return this.hostile.withAgent(() => this.#rotate(pick(random, [[0], [1], [0, 1]])));
      case "repair":
        return this.#repair(index, pick(random, damages));
      case "toggle":
        await this.#hostEncryption(true);
        await Bun.sleep(pauseMs);
        return this.#hostEncryption(false);
      case "dead man":
        return this.#deadMan(index);
      case "record":
        return this.#misclaim(random);
      case "replay":
        return this.#unmoved(() => this.replay(random));
    }
  }

  /** For the control: nothing is repaired meanwhile. */
  async withoutAgents<T>(act: () => Promise<T>): Promise<T> {
    for (const agent of this.agents) agent.freeze();
    try {
      return await act();
    } finally {
      for (const agent of this.agents) agent.thaw();
    }
  }

  async #restart(indexes: readonly (0 | 1)[], end: (agent: Agent) => Promise<unknown>): Promise<void> {
    await Promise.all(indexes.map((index) => end(this.agents[index])));
    await Bun.sleep(pauseMs);
    for (const index of indexes) this.agents[index] = await this.nodes[index].agent();
  }

  async #rotate(indexes: readonly number[]): Promise<void> {
    const agents = indexes.map((index) => this.agents[index as 0 | 1]);
    const from = agents.map((agent) => agent.lines().length);
    const rotate = async (node: Node) => {
      await wgMust(node, ["up", "--drain-timeout", `${drainSeconds}s`]);
      await wgMust(node, ["key", "rotate"]);
    };
    await Promise.all(indexes.map((index) => rotate(this.nodes[index as 0 | 1])));
    await Promise.all(agents.map((agent, i) => agent.waitFor("the rotation is done", rotationMs, from[i])));
  }

  async #repair(index: 0 | 1, damage: string): Promise<void> {
    const node = this.nodes[index];
    const before = factsOf(node);
    node.script([damage]);
    await waitUntil(() => Bun.deepEquals(factsOf(node), before), { what: `${node.name} repairs: ${damage}` });
    // A device that was made anew has no session yet.
    const [one, other] = this.nodes;
    await waitUntil(() => hasHandshakes(one, other) && hasHandshakes(other, one), {
      what: `handshakes after: ${damage}`,
    });
  }

  #hostEncryption(on: boolean): Promise<void> {
    const all = [...this.nodes, this.hostile.node];
    return setHostEncryption(this.nodes, (node) => all.filter((one) => one !== node), on);
  }

  /** The control plane does not answer: the agent takes host encryption back, and leaves it off. */
  async #deadMan(index: 0 | 1): Promise<void> {
    const [node, agent] = [this.nodes[index], this.agents[index]];
    const from = agent.lines().length;
    this.controlPlane(false);
    try {
      await wgMust(node, ["up", "--host-encryption", "on"]);
      await agent.waitFor("host encryption reverted", deadManMs, from);
    } finally {
      this.controlPlane(true);
    }
    await wgMust(node, ["up", "--host-encryption", "off"]);
  }

  /** The others hear of a record that claims what is not its own; the attacker's own claims stay in it. */
  async #misclaim(random: Random): Promise<void> {
    const own = JSON.stringify(this.hostile.record());
    const [one, other] = this.nodes.map(({ name }) => this.hostile.record(name)) as [NodeRecord, NodeRecord];
    const victim = pick(random, [one, other]);
    const from = this.agents.map((agent) => agent.lines().length);
    this.hostile.publish(pick(random, misclaims)(JSON.parse(own) as NodeRecord, victim));
    try {
      await Promise.all(
        this.agents.map((agent, i) =>
          agent.waitFor((line) => JSON.stringify(line).includes(this.hostile.node.name), undefined, from[i]),
        ),
      );
      await Bun.sleep(pauseMs);
    } finally {
      this.hostile.publish(own);
    }
  }

  /** Fails if a peer is looked for at an address that is not its own afterwards. */
  async #unmoved(act: () => Promise<void>): Promise<void> {
    await act();
    const all = [...this.nodes, this.hostile.node];
    const owners = new Map(
      all.flatMap((node) => Object.values(wgDump(node)).map(({ publicKey }) => [publicKey, node] as const)),
    );
    const moved = this.nodes.flatMap((node) =>
      Object.values(wgDump(node)).flatMap(({ peers }) =>
        Object.entries(peers).flatMap(([key, { endpoint }]) => {
          const ip = endpoint.replace(/:\d+$/, "").replace(/[[\]]/g, "");
          return owners.get(key)?.nodeIps.includes(ip) ? [] : [`${key} of ${node.name} at ${endpoint}`];
        }),
      ),
    );
    if (moved.length > 0) throw new Error(`Replays have moved a peer: ${moved.join(", ")}`);
  }
}

/** What the attacker may write in the place of its record. */
const misclaims: readonly ((own: NodeRecord, victim: NodeRecord) => string)[] = [
  (own, victim) => JSON.stringify({ ...own, podCIDRs: [...victim.podCIDRs, ...own.podCIDRs] }),
  (own, victim) => JSON.stringify({ ...own, nodeIPs: [...victim.nodeIPs, ...own.nodeIPs] }),
  (own) => JSON.stringify({ ...own, nodeIPs: [...own.nodeIPs, "192.0.2.254", "127.0.0.1", "203.0.113.9"] }),
  (own, victim) => JSON.stringify({ ...own, slots: [own.slots[0], victim.slots[1]] }),
  (own, victim) =>
    JSON.stringify({
      ...own,
      slots: [own.slots[0], { ...own.slots[1], publicKey: victim.slots[1]?.publicKey }],
    }),
  (_, victim) => JSON.stringify(victim),
  (own) => JSON.stringify({ ...own, podCIDRs: ["0.0.0.0/0", "::/0", ...own.podCIDRs] }),
  (own) => JSON.stringify({ ...own, endpoints: "255.255.255.255" }),
  (own) => JSON.stringify(own).slice(0, -1),
];

/** All that a damage changes, but for what packets add, a new device's numbers, and which slot is in use. */
function factsOf(node: Node): unknown {
  const { stdout } = node.exec(["nft", "-j", "-s", "list", "ruleset"]);
  const { nftables = [] } = JSON.parse(stdout || "{}") as { nftables?: readonly Record<string, object>[] };
  const rules = nftables.flatMap(({ rule, chain }) => {
    const { handle: _, ...rest } = (rule ?? chain ?? {}) as { handle?: number };
    return [JSON.stringify(rest)];
  });
  const lines = node.script([
    ...[4, 6].flatMap((family) =>
      Object.values(tables).map(
        (table) => `ip -${family} route show table ${table} | sed 's/wg-cni-[ab]/slot/; s/^/${table} /'`,
      ),
    ),
    "ip -br link show type tun; ip -br link show type wireguard",
  ]);
  return [rules.sort(), lines.split("\n").sort(), dumpOf(node)];
}

/** Endpoints and keepalives are the agent's to change. */
function dumpOf(node: Node): unknown {
  return JSON.parse(
    JSON.stringify(settledDump(node), (key, value) =>
      key === "endpoint" || key === "keepalive" ? undefined : value,
    ),
  );
}

function hasHandshakes(node: Node, peer: Node): boolean {
  const keys = new Set(Object.values(wgDump(peer)).map(({ publicKey }) => publicKey));
  return Object.values(wgDump(node)).every(({ peers }) =>
    Object.entries(peers).every(([key, { handshake }]) => !keys.has(key) || handshake > 0),
  );
}
