// What the agent does about a peer that is sent to and does not answer: each
// rung of the ladder has a fault that it mends, made by hand on a mesh that
// worked. WireGuard itself needs 15 s to find out, so this takes its time.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { NodeRecord } from "../../src/net/record.ts";
import type { Agent, LogLine } from "../lab/agent.ts";
import { Lab } from "../lab/lab.ts";
import { joinMesh } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";
import type { Running } from "../lab/space.ts";
import { waitUntil } from "../lab/wait.ts";
import { addNode, wgDump, wgJson } from "./mesh-witness.ts";
import { describeKernel } from "./support/gate.ts";

/** 30 s of silence, 15 s a rung, a handshake's tries, a loaded machine. */
const mendMs = 150_000;
/** WireGuard's KEEPALIVE_TIMEOUT, and some. */
const passiveKeepaliveMs = 12_000;
const testMs = 400_000;

interface Status {
  readonly peers: readonly { readonly name: string; readonly state: string; readonly slot?: string }[];
}

describeKernel("ladder", () => {
  let lab: Lab;
  let n1: Node;
  let n2: Node;
  let n3: Node;
  let agent: Agent;
  const pings: Running[] = [];

  beforeAll(async () => {
    lab = await Lab.create("ladder");
    n1 = await addNode(lab, 1);
    n2 = await addNode(lab, 2);
    n3 = await addNode(lab, 3);
    for (const node of [n2, n3])
      node.script([
        "ip link add pod0 type bridge",
        `ip address add 10.244.${node.name.slice(1)}.9/32 dev pod0`,
        "ip link set pod0 up",
      ]);
    await joinMesh([n1, n2, n3]);
    agent = await n1.agent();
  }, 60_000);
  afterAll(() => lab?.[Symbol.dispose]());

  /** Whatever its exit code: while the ladder is climbed, changes are pending. */
  const peer = async (name: string) => {
    const { stdout } = await n1.wg(["status", "--json"]);
    return (JSON.parse(stdout) as Status).peers.find((one) => one.name === name);
  };
  const rungs = (name: string) =>
    agent
      .lines()
      .filter(({ peer: of, message }: LogLine) => of === name && message.startsWith("nothing comes back"))
      .map(({ rung }) => rung);
  const answers = (ip: string) => n1.exec(["ping", "-q", "-c", "1", "-W", "1", ip]).exitCode === 0;

  test(
    "a wrong endpoint is set right, a blocked port is left for the other slot; each step is one log line",
    async () => {
      await waitUntil(() => answers("10.244.2.9") && answers("10.244.3.9"), { what: "both peers answer" });
      const keyOfN2 = (await wgJson<NodeRecord>(n2, ["node", "show"])).slots[0]!.publicKey;
      // Its last passive keepalive must be over, or it would set the endpoint right by itself.
      await Bun.sleep(passiveKeepaliveMs);
      // As if the peer had roamed to where nobody is.
      n1.must(["wg", "set", "wg-cni-a", "peer", keyOfN2, "endpoint", "192.0.2.77:51820"]);
      // UDP is blocked one way: what node 3 sends arrives, what it is sent does not.
      n3.script([
        "nft add table inet block",
        "nft 'add chain inet block input { type filter hook prerouting priority -400; }'",
        "nft add rule inet block input udp dport 51820 drop",
      ]);
      for (const ip of ["10.244.2.9", "10.244.3.9"])
        pings.push(n1.start(["ping", "-q", "-i", "0.2", ip], { timeoutMs: 0 }));
      await waitUntil(
        () => agent.lines().some(({ message, peer: of }) => of === "n2" && message.includes("answers")),
        {
          what: "node 2 answers again",
          timeoutMs: mendMs,
        },
      );
      expect(rungs("n2")).toEqual(["re-pin"]);
      expect(wgDump(n1)["wg-cni-a"]?.peers[keyOfN2]?.endpoint).toBe("192.0.2.2:51820");
      await waitUntil(async () => (await peer("n3"))?.slot === "b", {
        what: "node 3 is reached on slot b",
        timeoutMs: mendMs,
      });
      expect(rungs("n3")).toEqual(["re-pin", "re-add", "other-slot"]);
      await waitUntil(() => answers("10.244.3.9"), { what: "node 3 answers on slot b" });
      await waitUntil(async () => (await peer("n3"))?.state === "encrypted", {
        what: "status says encrypted",
      });
    },
    testMs,
  );

  test(
    "a peer that cannot be reached, and packets that this node's own kernel refuses to send: said, and mended by themselves",
    async () => {
      const saysSilent = (name: string) => (line: LogLine) =>
        line.peer === name && line.message.startsWith("nothing comes back");
      const saysAnswers = (name: string) => (line: LogLine) =>
        line.peer === name && line.message.includes("answers");
      const before = agent.lines().length;
      // The cable of node 2, and a firewall of node 1's own: the latter's packets do not even count as sent.
      lab.wire.must(["ip", "link", "set", "n2", "down"]);
      n1.script([
        "nft add table inet block",
        "nft 'add chain inet block output { type filter hook output priority -400; }'",
        "nft add rule inet block output ip daddr 192.0.2.3 udp dport 51821 drop",
      ]);
      await agent.waitFor(saysSilent("n2"), mendMs, before);
      await agent.waitFor(saysSilent("n3"), mendMs, before);
      expect((await peer("n2"))?.state).toBe("silent");
      expect((await peer("n3"))?.state).toBe("silent");
      lab.wire.must(["ip", "link", "set", "n2", "up"]);
      n1.must(["nft", "delete", "table", "inet", "block"]);
      await agent.waitFor(saysAnswers("n2"), mendMs, before);
      await agent.waitFor(saysAnswers("n3"), mendMs, before);
      for (const ip of ["10.244.2.9", "10.244.3.9"])
        await waitUntil(() => answers(ip), { what: `${ip} answers` });
      const stopped = await agent.stop();
      expect(stopped.exitCode).toBe(0);
      for (const ping of pings) await ping.stop();
    },
    testMs,
  );
});
