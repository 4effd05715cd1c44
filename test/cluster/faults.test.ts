// Everything that an API, and whoever can write to it, does to a mesh: one fault after
// the other on a real API server, behind a relay that can be made bad. Each has its
// outcome; and through all of them the pods of three nodes talk without a pause, lose
// no packet and send none in plaintext, which the end shows.
import { beforeAll, expect, test } from "bun:test";
import type { NodeRecord } from "../../src/net/record.ts";
import { keyOf, wgJson } from "../kernel/support/mesh-reference.ts";
import type { Capture } from "../lab/capture.ts";
import type { Node } from "../lab/node.ts";
import { eachWay, type FlowResult, losses, Streams } from "../lab/stream.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { ApiRelay } from "./support/api-relay.ts";
import { describeKube } from "./support/gate.ts";
import { giveAccount } from "./support/join.ts";
import type { KubeObject } from "./support/kube-client.ts";
import { pathOf, readManifest } from "./support/manifests.ts";
import {
  addSamplePod,
  allEncrypt,
  isEncrypted,
  joinThree,
  peersOf,
  refusedOf,
  ring,
  type Trio,
} from "./support/mesh.ts";
import { agentOf, createNode, namespace, nodesPath, recordObject, recordPath } from "./support/nodes.ts";
import { expireToken } from "./support/pki.ts";
import { startTimeoutMs, withApiServer } from "./support/with-api-server.ts";

/** Anything between API, agents and kernel on a busy machine. */
const soonMs = 60_000;
/** API servers believe for so long what they have found out about a token. */
const tokenCacheMs = 10_000;
const latencyMs = 10_000;
/** Longer than an agent rests between two tries of a server that is away. */
const restMs = 31_000;
const busySeconds = 3;
/** Timers are as early as that. */
const clockMs = 50;
const isListing = ({ message }: { readonly message: string }) => message === "the API's records were read";

describeKube("faults of the API, and bad input", () => {
  const lab = withLab("api-faults");
  const server = withApiServer(lab, ["crd", "rbac", "policy"]);
  let relay: ApiRelay;
  let trio: Trio;
  let streams: Streams;
  let capture: Capture;
  const timeline: { readonly name: string; readonly fromMs: number }[] = [];

  beforeAll(async () => {
    relay = await ApiRelay.start(server);
    trio = await joinThree(lab, server, { env: ApiRelay.env });
    await allEncrypted();
    capture = await lab.capture("net 10.244.0.0/16 or ip6 net fd00:10:244::/48");
    const flows = [...eachWay(ring(trio.pods), 4), ...eachWay([ring(trio.pods)[0]], 6)];
    streams = await Streams.start(flows, { rate: 100 });
  }, startTimeoutMs);

  function fault(name: string, body: () => Promise<void>): void {
    test(name, async () => {
      timeline.push({ name, fromMs: Date.now() });
      await body();
      await allEncrypted();
      await allTaken();
    }, 500_000);
  }
  const until = (what: string, look: () => Promise<boolean> | boolean, timeoutMs = soonMs) =>
    waitUntil(look, { what, timeoutMs });
  const allEncrypted = () => allEncrypt(trio.nodes);
  /** Each fault passes, by itself; a watch that has failed twice rests before it tries again. */
  const allTaken = () =>
    onAll("nothing is refused", async (node) => Object.keys(await reasons(node)).length === 0);
  const published = async ({ name }: Node) => (await server.admin.find(recordPath(name)))?.["spec"];
  const names = async (node: Node) => (await peersOf(node)).map(({ name }) => name).join(" ");
  const reasons = async (node: Node) =>
    Object.fromEntries((await refusedOf(node)).map(({ file, reason }) => [file, reason]));
  const claimsRefused = async (node: Node, peer: string) =>
    (await peersOf(node)).find(({ name }) => name === peer)?.refused ?? [];
  const slot = (n: number) => ({ slot: "a", publicKey: keyOf(n), port: 51820, state: "active" });
  /** By an administrator, whom no policy holds back. */
  const put = (node: KubeObject, spec: object) =>
    server.admin.apply(recordPath(node.metadata.name), recordObject(node, spec), { manager: "somebody" });
  const from = () => trio.agents.map((agent) => agent.lines().length);
  const allSay = (what: string, since: readonly number[], timeoutMs = soonMs) =>
    Promise.all(trio.agents.map((agent, at) => agent.waitFor(what, timeoutMs, since[at])));
  const hasListed = (at: number, since: readonly number[]) =>
    trio.agents[at]!.lines().slice(since[at]).some(isListing);
  const complaints = (since: readonly number[]) =>
    trio.agents.flatMap((agent, at) =>
      agent
        .lines()
        .slice(since[at])
        .filter(({ level }) => level === "warn" || level === "error")
        .map(({ message }) => `${agent.node.name}: ${message}`),
    );
  const onAll = async (what: string, look: (node: Node) => Promise<boolean>) => {
    for (const node of trio.nodes) await until(`${node.name}: ${what}`, () => look(node));
  };
  const setAddresses = (name: string, ips: readonly string[]) =>
    server.admin.patch(`${nodesPath}/${name}/status`, {
      status: { addresses: ips.map((address) => ({ type: "InternalIP", address })) },
    });

  fault(
    "records of an older and of a newer version: what is understood is taken, the rest refused",
    async () => {
      const [newer] = readManifest("crd") as [KubeObject];
      const { spec } = newer["spec"].versions[0].schema.openAPIV3Schema.properties;
      spec.properties.cipher = { type: "string" };
      spec.properties.slots.items.properties.state.enum.push("resting");
      await server.admin.apply(pathOf(newer), newer, { manager: "kubectl" });
      const older = await createNode(server.admin, "older", { internalIPs: ["192.0.2.61"] });
      const odd = await createNode(server.admin, "odd", { internalIPs: ["192.0.2.62"] });
      await put(older, { endpoints: ["192.0.2.61"], slots: [] });
      await until("the newer schema", () =>
        put(odd, { slots: [{ ...slot(62), state: "resting" }] }).then(
          () => true,
          () => false,
        ),
      );
      await server.admin.patch(recordPath("n2"), { spec: { cipher: "aes" } });
      await onAll("the older one is a peer", async (node) => /\bolder\b/.test(await names(node)));
      await onAll("the odd one is refused", async (node) => "wireguardnode/odd" in (await reasons(node)));
      expect(await reasons(trio.nodes[0])).toEqual({
        "wireguardnode/odd": expect.stringContaining('spec.slots[0].state: "resting" is not one of'),
      });
      // An agent leaves unknown objects alone.
      expect((await published(trio.nodes[1])).cipher).toBe("aes");
      await server.admin.remove(recordPath("odd"));
    },
  );

  fault("a record that was made unreadable by hand: the one before holds until it is put back", async () => {
    const [n1, n2] = trio.nodes;
    const before = await published(n2);
    trio.agents[1].freeze();
    const resting = before.slots.map((one: object) => ({ ...one, state: "resting" }));
    await server.admin.patch(recordPath("n2"), { spec: { slots: resting } });
    await until("it being refused", async () => "wireguardnode/n2" in (await reasons(n1)));
    expect((await reasons(n1))["wireguardnode/n2"]).toEndWith("; the record taken before stays");
    expect(await isEncrypted(n1, "n2")).toBe(true);
    trio.agents[1].thaw();
    await allTaken();
    expect(await published(n2)).toEqual(before);
  });

  fault(
    "an attacker's record claims another's key, CIDRs and address: it gets none of them, and all keep theirs",
    async () => {
      const n2 = trio.nodes[1];
      const { slots, podCIDRs, nodeIPs } = await wgJson<NodeRecord>(n2, ["node", "show"]);
      const thief = await createNode(server.admin, "thief", { internalIPs: ["192.0.2.66"] });
      await put(thief, { slots, endpoints: ["192.0.2.66"], nodeIPs, podCIDRs });
      for (const node of trio.nodes) {
        await until(
          `${node.name} refusing all`,
          async () => (await claimsRefused(node, "thief")).length === 6,
        );
        expect((await claimsRefused(node, "thief")).every((reason) => reason.endsWith("n2's"))).toBe(true);
      }
    },
  );

  fault("two nodes with one IP: it stays with the first, and the other says whose it is", async () => {
    const twin = await createNode(server.admin, "twin", { internalIPs: ["192.0.2.2"] });
    const agent = await agentOf(server, "twin");
    const spec = {
      slots: [slot(67)],
      endpoints: ["192.0.2.2"],
      nodeIPs: ["192.0.2.2"],
      podCIDRs: ["10.244.67.0/24"],
    };
    await agent.apply(recordPath("twin"), recordObject(twin, spec));
    for (const node of trio.nodes) {
      await until(`${node.name} refusing it`, async () => (await claimsRefused(node, "twin")).length > 0);
      expect(await claimsRefused(node, "twin")).toEqual([
        "node IP 192.0.2.2/32 of twin is already n2's",
        // Only to whom it would be its own does an address to send to matter.
        ...(node.name === "n2" ? ["endpoint 192.0.2.2 of twin is already n2's"] : []),
      ]);
    }
  });

  fault("a record for a Node that there is not: no agent takes it, and it is collected", async () => {
    const uid = "00000000-0000-4000-8000-000000000001";
    const ghost = { apiVersion: "v1", kind: "Node", metadata: { name: "ghost", uid } };
    await put(ghost, {
      slots: [slot(68)],
      endpoints: ["192.0.2.68"],
      nodeIPs: [],
      podCIDRs: ["10.244.68.0/24"],
    });
    await onAll("it is refused", async (node) => "wireguardnode/ghost" in (await reasons(node)));
    for (const node of trio.nodes) expect(await names(node)).not.toMatch(/\bghost\b/);
    await server.controllers.start();
    await until("its collection", async () => (await server.admin.find(recordPath("ghost"))) === undefined);
  });

  fault("a Node that loses and changes its addresses and CIDRs: what cannot be used is not", async () => {
    const n3 = trio.nodes[2];
    const before = await published(n3);
    const agent = trio.agents[2];
    let since = agent.lines().length;
    await setAddresses("n3", []);
    await agent.waitFor("Node n3 has no InternalIP", soonMs, since);
    expect(await published(n3)).toEqual(before);
    await setAddresses("n3", [n3.nodeIps[1] as string, n3.nodeIps[0] as string, "192.0.2.103"]);
    await until("three addresses", async () => (await published(n3)).endpoints.length === 3);
    // IPv4 first, whichever the cluster has first.
    expect((await published(n3)).endpoints).toEqual(["192.0.2.3", "192.0.2.103", "2001:db8::3"]);
    await setAddresses("n3", n3.nodeIps);
    since = agent.lines().length;
    await server.admin.remove(`${nodesPath}/n3`);
    await createNode(server.admin, "n3", { internalIPs: n3.nodeIps });
    await agent.waitFor("has no pod CIDR (spec.podCIDRs), so it stays", soonMs, since);
    await giveAccount(server, n3);
    // Half of what it had, in the other order: what pods have is in it.
    const cidrs = ["fd00:10:244:3::/65", "10.244.3.0/25"];
    await server.admin.patch(`${nodesPath}/n3`, { spec: { podCIDR: cidrs[0], podCIDRs: cidrs } });
    await until(
      "the CIDRs",
      async () => JSON.stringify((await published(n3))?.podCIDRs) === JSON.stringify(cidrs),
    );
  });

  fault("answers of the API come 10 s late: what changes is heard of, and no agent complains", async () => {
    const since = from();
    await relay.tell(`delay ${latencyMs}`);
    const startMs = performance.now();
    await setAddresses("n1", [...trio.nodes[0].nodeIps, "192.0.2.101"]);
    const isKnown = async (node: Node) => JSON.stringify(await peersOf(node)).includes("192.0.2.101");
    for (const node of trio.nodes.slice(1)) await until(`${node.name} knowing it`, () => isKnown(node));
    // The Node's change, two for the connection and the answer, and the record's change.
    expect(performance.now() - startMs).toBeGreaterThan(3 * latencyMs);
    await relay.tell("delay 0");
    expect(complaints(since)).toEqual([]);
  });

  fault(
    "a watch silently stops: what is known holds; when its connection ends, it goes on where it was",
    async () => {
      const since = from();
      await relay.tell("hold");
      await setAddresses("n1", trio.nodes[0].nodeIps);
      await Bun.sleep(5000);
      expect((await published(trio.nodes[0])).endpoints).toContain("192.0.2.101");
      await relay.tell("cut");
      await until(
        "the address being gone",
        async () => !(await published(trio.nodes[0])).endpoints.includes("192.0.2.101"),
      );
      await onAll("it is gone", async (node) => !JSON.stringify(await peersOf(node)).includes("192.0.2.101"));
      expect(complaints(since)).toEqual([]);
    },
  );

  fault(
    "the API is too busy, with 429 and Retry-After: it is left alone for as long as it asks",
    async () => {
      const since = from();
      await relay.tell(`busy ${busySeconds}`);
      await relay.tell("cut");
      await allSay("(429)", since);
      await Bun.sleep(2 * busySeconds * 1000);
      await relay.tell("busy 0");
      await allSay("resolved: records cannot be read", since);
      const gaps = relay.asked().map((times) => times.slice(1).map((ms, at) => ms - (times[at] as number)));
      // Three agents watch the records and their Node.
      expect(gaps.length).toBeGreaterThanOrEqual(6);
      expect(Math.min(...gaps.flat())).toBeGreaterThan(busySeconds * 1000 - clockMs);
      expect(trio.agents.map((_, at) => hasListed(at, since))).toEqual([false, false, false]);
    },
  );

  fault("tokens have expired: that is said, and passes with the next ones", async () => {
    const since = from();
    const pods = `/api/v1/namespaces/${namespace}/pods`;
    for (const node of trio.nodes) await giveAccount(server, node, (token) => expireToken(server.pki, token));
    // The ones that agents still have are bound to these.
    const { items } = await server.admin.get(pods);
    for (const { metadata } of items as readonly KubeObject[])
      await server.admin.remove(`${pods}/${metadata.name}?gracePeriodSeconds=0`);
    await Bun.sleep(tokenCacheMs + 1000);
    await relay.tell("cut");
    await allSay("(401)", since);
    for (const node of trio.nodes) await giveAccount(server, node);
    await allSay("resolved: records cannot be read", since);
  });

  fault(
    "the API server has a certificate of another authority: it is not believed until the nodes are told",
    async () => {
      const since = from();
      await server.exchangeAuthority();
      await allSay("certificate", since);
      const isSaid = async (node: Node) => /certificate/i.test((await reasons(node))["kubernetes"] ?? "");
      await onAll("it is said", isSaid);
      for (const node of trio.nodes) await giveAccount(server, node);
      await allSay("resolved: records cannot be read", since, restMs + soonMs);
    },
  );

  fault("the API has forgotten what was before (410): everything is listed again", async () => {
    const since = from();
    await relay.tell("hold");
    await setAddresses("n1", [...trio.nodes[0].nodeIps, "192.0.2.102"]);
    // A server knows only versions since its start.
    await server.server.kill();
    await server.server.start();
    await relay.tell("cut");
    const isKnown = async (node: Node) => JSON.stringify(await peersOf(node)).includes("192.0.2.102");
    // Each watch by itself may rest three times: it failed a moment before, hears that all is forgotten, and may be
    // the first to ask a server that still reads.
    const longMs = 3 * restMs + soonMs;
    for (const node of trio.nodes.slice(1))
      await until(`${node.name} knowing it`, () => isKnown(node), longMs);
    await allSay("the API's records were read", since, longMs);
    await setAddresses("n1", trio.nodes[0].nodeIps);
  });

  test("no packet was lost through all of it, and none was in plaintext", async () => {
    const results = await streams.stop();
    expect({ during: blame(results), losses: losses(results) }).toEqual({ during: [], losses: {} });
    expect(Math.min(...results.map(({ received }) => received))).toBeGreaterThan(3000);
    expect((await capture.packets()).length).toBe(0);
    for (const node of trio.nodes) expect(await reasons(node)).toEqual({});
  });

  test("a Node that is made anew with other CIDRs: pods from before are named, new ones are encrypted", async () => {
    const [n1, , n3] = trio.nodes;
    const cidrs = ["10.244.33.0/24", "fd00:10:244:33::/64"];
    const [, , agent] = trio.agents;
    const since = agent.lines().length;
    await server.admin.remove(`${nodesPath}/n3`);
    await createNode(server.admin, "n3", { internalIPs: n3.nodeIps, podCIDRs: cidrs });
    await giveAccount(server, n3);
    const { message } = await agent.waitFor("outside its new pod CIDRs", soonMs, since);
    expect(message).toStartWith(`This node has 2 pod IPs outside its new pod CIDRs (${trio.pods[2].ip(4)}, `);
    await until("them being published", async () => (await published(n3))?.podCIDRs[0] === cidrs[0]);
    const onward = () => n1.exec(["ip", "-4", "route", "get", "10.244.33.2"]).stdout.includes("dev wg-cni-");
    await until("n1 encrypting to them", onward);
    const pod = await addSamplePod(n3, "anew");
    expect(pod.ip(4)).toStartWith("10.244.33.");
    expect(pod.must(["ping", "-q", "-c", "3", "-W", "5", trio.pods[0].ip(4)])).toContain(" 0% packet loss");
  });

  /** The faults in which something was lost. */
  function blame(results: readonly FlowResult[]): string[] {
    const at = results.flatMap(({ lostRanges }) => lostRanges.map(({ fromMs }) => fromMs));
    return [...new Set(at.map((ms) => timeline.findLast(({ fromMs }) => fromMs <= ms)?.name ?? "before"))];
  }
});
