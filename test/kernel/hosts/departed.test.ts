// Packets for a pod that has just gone, which its peers have not heard of yet: the tunnel
// delivers them, and the route that is left is the node's default one, or that of the
// network that pods and nodes share. They are refused at once, and never leave the node.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPod, awaitTunnels, removePod, roles, setReversePath } from "../support/hosts.ts";
import { addNode, wgMust } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
const secret = "of-a-pod-that-has-gone";

/** Returns the results of three packets to an address; see ping() for -l and -i. */
async function knock(from: Namespaces, ip: string): Promise<{ answered: number; told: boolean }> {
  const pattern = Buffer.from(secret).toString("hex").slice(0, 32);
  const done = await from.run(["ping", "-n", "-c", "3", "-l", "3", "-i", "5", "-W", "1", "-p", pattern, ip]);
  const count = (text: RegExp) => (done.stdout.match(text) ?? []).length;
  return {
    answered: count(/bytes from/g),
    told: count(/Destination Host Unreachable|Address unreachable/g) > 0,
  };
}

/** The kernel sends one address six ICMP errors at once and then one a second, and one knock uses three. */
const attempts = 10;

/** Knocks until the sender is told; an answer ends it too. */
async function knockUntilTold(from: Namespaces, ip: string): Promise<{ answered: number; told: boolean }> {
  for (let i = 1; ; i++) {
    const seen = await knock(from, ip);
    if (seen.told || seen.answered > 0 || i === attempts) return seen;
  }
}

describeKernel("a pod that has gone", () => {
  setDefaultTimeout(120_000);
  const lab = withLab("departed");
  let n1: Node;
  let n2: Node;
  let agents: readonly Agent[];
  let p1: Pod;
  const allRefused = { answered: 0, told: true };
  const allAnswered = { answered: 3, told: false };

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    ({ agents } = await joinByRecords([n1, n2]));
    p1 = await addPod(n1, "p1", "chained");
    await awaitTunnels([n1, n2]);
  });
  describe.each(roles)("%s", (role) => {
    for (const mode of ["permissive", "strict"])
      for (const filter of [0, 1, 2])
        test(`${mode}, rp_filter ${filter}: the sender is told, and nothing leaves`, async () => {
          for (const node of [n1, n2]) {
            setReversePath(node, filter);
            await wgMust(node, ["up", "--mode", mode]);
          }
          const pod = await addPod(n2, `gone-${role}-${mode}-${filter}`, role);
          const ips = families.map((family) => pod.ip(family));
          for (const from of [p1, n1])
            for (const ip of ips) expect(await knock(from, ip)).toEqual(allAnswered);
          await removePod(n2, pod, role);
          const capture = await lab.capture();
          for (const from of [p1, n1])
            for (const ip of ips) expect(await knockUntilTold(from, ip)).toEqual(allRefused);
          const seen = (await capture.packets()).filter(
            ({ bytes, source, destination }) =>
              Buffer.from(bytes).includes(secret.slice(0, 16)) ||
              ips.includes(source ?? "") ||
              ips.includes(destination ?? ""),
          );
          await capture.stop();
          expect(seen).toEqual([]);
        });
  });

  test("in a network that pods and nodes share: another node's pod with the address gets nothing by the way", async () => {
    // The address is of the nodes' own network: to n2 it is on the wire, where somebody else now has it.
    const address = { 4: "192.0.2.77", 6: "2001:db8::77" } as const;
    lab.wire.script([
      `ip address add ${address[4]}/32 dev br0`,
      `ip address add ${address[6]}/128 dev br0 nodad`,
    ]);
    const prefixes = [`${address[4]}/32`, `${address[6]}/128`];
    for (const node of [n1, n2]) setReversePath(node, 0);
    await wgMust(n2, ["up", ...n2.podCidrs.concat(prefixes).flatMap((cidr) => ["--pod-cidr", cidr])]);
    await waitUntil(() => n1.must(["ip", "route", "show", "table", "18099"]).includes(address[4]), {
      what: "node 1 has heard of the address",
    });
    // The following record must be older than the one that node 1 has.
    agents[0]?.freeze();
    await wgMust(n2, ["up", ...n2.podCidrs.flatMap((cidr) => ["--pod-cidr", cidr])]);
    const capture = await lab.capture();
    try {
      for (const from of [p1, n1])
        for (const family of families)
          expect(await knockUntilTold(from, address[family])).toEqual(allRefused);
      const seen = (await capture.packets()).filter(({ bytes }) =>
        Buffer.from(bytes).includes(secret.slice(0, 16)),
      );
      expect(seen).toEqual([]);
      // The control: without our table the packets do leave, and are answered by whom they are not for.
      agents[1]?.freeze();
      for (const chain of ["prerouting", "passing"])
        n2.must(["nft", "flush", "chain", "inet", "wg-cni", chain]);
      expect((await knock(p1, address[4])).told).toBe(false);
      const leaked = (await capture.packets()).filter(({ bytes }) =>
        Buffer.from(bytes).includes(secret.slice(0, 16)),
      );
      expect(leaked.length).toBeGreaterThan(0);
    } finally {
      for (const agent of agents) agent.thaw();
      await capture.stop();
    }
  });
});
