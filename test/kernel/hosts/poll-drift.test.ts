// The agent's poll compares everything that it reads of the devices: the kernel sends no events about
// most of these changes, so nothing else would notice them before the next resync.
import { beforeAll, expect, test } from "bun:test";
import type { Agent, LogLine } from "../../lab/agent.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, settledDump } from "../support/mesh-reference.ts";

/** The agent's: a poll that is idle, and how often one comes. */
const pollMs = 5000;

describeKernel("drift that no event tells", () => {
  const lab = withLab("drift");
  let n1: Node;
  let agent: Agent;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    const n2 = await addNode(lab, 2);
    n1.strictReversePath();
    await joinMesh([n1, n2]);
    agent = await n1.agent({ args: ["--log-level", "debug"] });
    await n2.agent();
  }, 120_000);
  const value = (path: string) => n1.must(["cat", `/proc/sys/net/ipv4/conf/${path}`]).trim();
  const settled = () =>
    JSON.stringify([settledDump(n1), value("eth0/src_valid_mark"), value("wg-cni-a/rp_filter")]);
  /** A poll that found something and so programmed the mesh. */
  const isPoll = ({ message, reason }: LogLine) => message === "reconciled" && reason === "poll";
  const firstPeer = "$(wg show wg-cni-a peers | head -n 1)";

  test("control: polls that find nothing program nothing", async () => {
    const from = agent.lines().length;
    await Bun.sleep(3 * pollMs);
    expect(agent.lines().slice(from).filter(isPoll)).toEqual([]);
  });

  test.each([
    ["a device's port", ["wg set wg-cni-a listen-port 40000"]],
    ["a device's mark", ["wg set wg-cni-b fwmark 0x99"]],
    ["a device's key", ["wg genkey >/run/key", "wg set wg-cni-a private-key /run/key"]],
    ["a peer's allowed IPs", [`wg set wg-cni-a peer ${firstPeer} allowed-ips 203.0.113.0/24`]],
    ["a peer's allowed IPs, one more", [`wg set wg-cni-a peer ${firstPeer} allowed-ips +203.0.113.0/24`]],
    ["a peer's keepalive", [`wg set wg-cni-b peer $(wg show wg-cni-b peers) persistent-keepalive 77`]],
    ["a peer without a record", ["wg set wg-cni-a peer $(wg genkey | wg pubkey) allowed-ips 203.0.113.7/32"]],
    ["the filter of a device", ["echo 1 >/proc/sys/net/ipv4/conf/wg-cni-a/rp_filter"]],
    ["the marks of a strict uplink", ["echo 0 >/proc/sys/net/ipv4/conf/eth0/src_valid_mark"]],
  ])("%s is mended at the next poll", async (_, change) => {
    const before = settled();
    n1.script(
      change.map((line) => line.replace("+203", "$(wg show wg-cni-a allowed-ips | cut -f2 | tr ' ' ,),203")),
    );
    expect(settled()).not.toBe(before);
    // Well before the next resync as a rule, which comes once a minute and mends all.
    await waitUntil(() => settled() === before, { what: () => `${before}, not ${settled()}` });
  });

  test("an uplink that becomes strict, or no longer is, is noticed", async () => {
    const setFilter = (filter: number) =>
      n1.script(["all", "eth0"].map((dev) => `echo ${filter} >/proc/sys/net/ipv4/conf/${dev}/rp_filter`));
    setFilter(2);
    await waitUntil(() => value("eth0/src_valid_mark") === "0", {
      what: "marks that do not matter any more",
    });
    setFilter(1);
    await waitUntil(() => value("eth0/src_valid_mark") === "1", { what: "marks that matter again" });
  });
}, ["wg", "wireguard-go"]);
