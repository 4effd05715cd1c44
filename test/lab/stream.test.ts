// The streams and paths prove themselves on a network without wg-cni: a clean
// one loses nothing on busy processors either, and what nftables drops is what
// is missing, by number.

import { afterEach, beforeAll, expect, test } from "bun:test";
import { describeKernel } from "../kernel/support/gate.ts";
import { numberInNft } from "./datagram.ts";
import { readDropCounters } from "./drop-counters.ts";
import { LossEvidence } from "./loss-evidence.ts";
import type { Node } from "./node.ts";
import { answering, pathStreams, paths, probePaths, table } from "./path-matrix.ts";
import { repository } from "./paths.ts";
import type { Pod } from "./pod.ts";
import { type ConfList, readConfList, withoutPlugin } from "./runtime.ts";
import { eachWay, flow, losses, Stream, Streams } from "./stream.ts";
import { waitUntil } from "./wait.ts";
import { withLab } from "./with-lab.ts";

const families = [4, 6] as const;
const port = 6900;

describeKernel("streams", () => {
  const lab = withLab("streams");
  const nodes: Node[] = [];
  const pods: Pod[] = [];

  beforeAll(async () => {
    for (const index of [1, 2, 3]) {
      const podCidrs = [`10.244.${index}.0/24`, `fd00:10:244:${index}::/64`];
      const options = { ip4: `192.0.2.${index}`, ip6: `2001:db8::${index}`, podCidrs };
      const node = await lab.node(`n${index}`, options);
      const pod = node.pod("p");
      await node.runtime.add(ptp(index), pod);
      nodes.push(node);
      pods.push(pod);
    }
  });
  afterEach(() => {
    for (const node of nodes) node.must(["nft", "flush", "ruleset"]);
  });

  const [a, b, c] = [() => pods[0]!, () => pods[1]!, () => pods[2]!];

  /** Filters what node 2 takes from the wire; returns what the rule's counter says. */
  const dropAt2 = (rule: string) => {
    nodes[1]!.script([
      "nft add table inet lossy",
      "nft 'add chain inet lossy in { type filter hook prerouting priority raw; }'",
      `nft 'add rule inet lossy in iifname eth0 ${rule} counter drop'`,
    ]);
    return () => Number(/packets (\d+)/.exec(nodes[1]!.must(["nft", "list", "table", "inet", "lossy"]))?.[1]);
  };

  test.each(families)(
    "1000 packets/s each way between three pods lose none while the processors are busy, IPv%i",
    async (family) => {
      const busy = [1, 2, 3].map(() => lab.wire.start(["sh", "-c", "while :; do :; done"]));
      const pairs = [
        [a(), b()],
        [b(), c()],
        [c(), a()],
      ] as const;
      const streams = await Streams.start(eachWay(pairs, family));
      await Bun.sleep(3000);
      const results = await streams.stop();
      await Promise.all(busy.map((one) => one.stop("SIGKILL")));
      expect(losses(results)).toEqual({});
      expect(results.length).toBe(6);
      for (const result of results) {
        expect(result.sent).toBeGreaterThan(1000);
        expect(result).toMatchObject({ received: result.sent, arrived: result.sent, duplicates: 0 });
        expect(result).toMatchObject({ lostRanges: [], longestGapMs: 0, refused: {} });
      }
    },
  );

  test.each(families)("packets dropped on the way are missing by their numbers, IPv%i", async (family) => {
    dropAt2(`udp dport ${port} ${numberInNft} { 100-149, 300 }`);
    const startMs = Date.now();
    const stream = await Stream.start(a(), b(), { toIp: b().ip(family), port, mayLose: true });
    await Bun.sleep(1500);
    const result = await stream.stop();
    expect(result.sent).toBeGreaterThan(400);
    expect(result.lostRanges).toMatchObject([
      { first: 100, last: 149 },
      { first: 300, last: 300 },
    ]);
    expect(result.sent - result.received).toBe(51);
    expect(result.longestGapMs).toBeGreaterThan(0);
    expect(result.lostRanges[0]!.fromMs).toBeWithin(startMs, result.lostRanges[0]!.toMs);
    expect(result.lostRanges[1]!.toMs).toBeWithin(result.lostRanges[0]!.toMs, Date.now() + 1);
    const said = losses([result])["n1/p -> n2/p"];
    expect(said).toMatch(
      /^51 of \d+ lost: 100 to 149 \(after \S+\), 300 to 300 \(after \S+\), longest \d+ ms, slowest \d+ ms$/,
    );
  });

  test("what is known of the cause: rules that dropped, reverse paths, changes of routes", async () => {
    const n2 = nodes[1]!;
    const counted = dropAt2(`udp dport ${port} ${numberInNft} 40`);
    n2.strictReversePath();
    const filtered = () => readDropCounters(`/proc/${n2.pid}/net`).get("TcpExt.IPReversePathFilter") ?? 0;
    const before = filtered();
    const evidence = await LossEvidence.start(new Set(nodes));
    const stream = await Stream.start(a(), b(), { toIp: b().ip(4), port, mayLose: true });
    await waitUntil(() => counted() === 1, { what: "the dropped packet" });
    n2.script(["ip route add 198.51.100.0/24 dev lo", "ip route replace 10.244.1.0/24 dev lo"]);
    await waitUntil(() => filtered() > before, { what: "packets with a wrong reverse path" });
    n2.script([`ip route replace 10.244.1.0/24 via ${nodes[0]!.ip(4)} dev eth0`]);
    const { lostRanges } = await stream.stop();
    evidence.end(new Map());
    const told = evidence.describe(lostRanges);
    expect(told["rules and queues of n2"]).toEqual([expect.stringMatching(/^inet lossy chain in: .* \+1$/)]);
    expect(told["counters of n2"]?.join()).toMatch(/TcpExt.IPReversePathFilter \+\d+/);
    expect(told["changes on n2"]?.join()).toContain("198.51.100.0/24 dev lo");
  });

  test("as many are missing as the dropping rule counts", async () => {
    const counted = dropAt2(`udp dport ${port} numgen inc mod 7 == 0`);
    const stream = await Stream.start(a(), b(), { toIp: b().ip(4), port, mayLose: true });
    await Bun.sleep(500);
    const { sent, received } = await stream.stop();
    expect(received).toBeLessThan(sent);
    expect(sent - received).toBe(counted());
  });

  test("an answer that is lost counts, and shows that the request arrived", async () => {
    dropAt2(`udp sport ${port} ${numberInNft} 5-9`);
    const options = { port, rate: 100, mayLose: true };
    const streams = await Streams.start([{ ...flow(b(), a(), 4), echo: true }], options);
    await Bun.sleep(1000);
    const [result] = await streams.stop();
    expect(result!.lostRanges).toMatchObject([{ first: 5, last: 9 }]);
    expect(result).toMatchObject({ received: result!.sent - 5, arrived: result!.sent });
  });

  test("what the sender's own kernel refuses is sent, lost, and named", async () => {
    nodes[0]!.must(["ip", "route", "add", "prohibit", `${b().ip(4)}/32`]);
    const stream = await Stream.start(nodes[0]!, b(), { toIp: b().ip(4), rate: 100, mayLose: true });
    await Bun.sleep(100);
    const result = await stream.stop();
    nodes[0]!.must(["ip", "route", "delete", "prohibit", `${b().ip(4)}/32`]);
    expect(result).toMatchObject({ received: 0, refused: { EACCES: result.sent } });
  });

  test("an eavesdropper reads the text in every packet that is not encrypted", async () => {
    const capture = await lab.capture();
    const text = "a stream that anybody can read";
    const stream = await Stream.start(nodes[0]!, c(), { toIp: c().ip(6), rate: 100, text });
    await Bun.sleep(200);
    const { sent, received } = await stream.stop();
    expect(received).toBe(sent);
    expect(await capture.readable(text)).toBe(sent);
    await capture.stop();
  });

  test.each(families)("the seven paths answer, IPv%i", async (family) => {
    const results = await probePaths(a(), b(), family);
    expect(losses(results)).toEqual({});
    expect(answering(results)).toEqual([...paths]);
    expect(table(results).map(({ path }) => path)).toEqual([...paths]);
  });

  test("of the seven paths only the broken one loses, and only while it is broken", async () => {
    const streams = await pathStreams(a(), b(), 4, { port, mayLose: true });
    const counted = dropAt2(`ip saddr ${a().ip(4)} ip daddr ${b().ip(4)} udp dport ${port}`);
    await waitUntil(() => counted() >= 3, { what: "three dropped packets" });
    const dropped = counted();
    nodes[1]!.must(["nft", "flush", "ruleset"]);
    await Bun.sleep(300);
    const results = await streams.stop();
    expect(results.filter(({ sent, received }) => received < sent).map(({ name }) => name)).toEqual([
      "pod -> pod 1 -> 2",
    ]);
    const { sent, received } = results[0]!;
    expect(sent - received).toBeGreaterThanOrEqual(dropped);
    expect(received).toBeGreaterThan(0);
  });

  test("a receiver that cannot listen and a packet gone astray are errors", async () => {
    const elsewhere = Stream.start(a(), b(), { toIp: "203.0.113.1" });
    await expect(elsewhere).rejects.toThrow(/Cannot bind the receiver at 203\.0\.113\.1 port \d+/);
    const listener = await Stream.start(a(), b(), { toIp: b().ip(4), port });
    const intruder = `printf 'wgst\\0\\0\\0\\7\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0' >/dev/udp/${b().ip(4)}/${port}`;
    c().must(["bash", "-c", intruder]);
    await expect(listener.stop()).rejects.toThrow("n2/p got 1 packets of flows that end elsewhere");
  });
}, ["nft", "tcpdump"]);

/** The sample list with the addresses of one node, without wg-cni. */
function ptp(index: number): ConfList {
  const list = withoutPlugin(readConfList(`${repository}/conf/10-ptp.conflist`), "wg-cni");
  const text = JSON.stringify(list);
  return JSON.parse(text.replace("10.244.1.", `10.244.${index}.`).replace("244:1:", `244:${index}:`));
}
