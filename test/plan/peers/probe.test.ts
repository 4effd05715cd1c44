// How an address that nothing has shown is asked for a handshake, and for how long.
import { describe, expect, test } from "bun:test";
import { closedPath, type PeerPath } from "../../../src/net/path.ts";
import type { NodeRecord, Slot, SlotState } from "../../../src/net/record.ts";
import { type Probe, type ProbeFacts, type ProbeMemory, planProbe } from "../../../src/plan/peers/probe.ts";

const slot = (name: Slot, state: SlotState = "active") => ({
  slot: name,
  publicKey: `K${name}`,
  port: 51820,
  state,
});
const node: NodeRecord = {
  ...{ name: "n1", slots: [slot("a"), slot("b")], podCIDRs: [] },
  ...{ endpoints: ["192.0.2.1"], nodeIPs: ["192.0.2.1", "2001:db8::1"] },
};
const peer = { ...node, name: "n2", endpoints: ["192.0.2.2"], nodeIPs: [] };
const open: PeerPath = { ...closedPath, slot: "a" };
const facts = (change: Partial<ProbeFacts>): ProbeFacts => ({
  ...{ node, peer, path: open, observation: {}, unprovenIPs: ["8.8.8.8"] },
  ...change,
});
const seen = { publicKey: "Kb", ownKey: "O", rxBytes: 0, txBytes: 0, lastHandshakeMs: 1 };
const now = 1_000_000;

describe("a probe", () => {
  test.each<[string, Partial<ProbeFacts>, Probe["probe"]]>([
    ["is on the slot without traffic", {}, { slot: "b", ip: "8.8.8.8" }],
    ["is on the other slot", { path: { ...open, slot: "b" } }, { slot: "a", ip: "8.8.8.8" }],
    ["is for nothing that is shown", { unprovenIPs: [] }, undefined],
    [
      "is for no family that this node lacks",
      { node: { ...node, nodeIPs: [] }, unprovenIPs: ["2001:db8::2"] },
      undefined,
    ],
    [
      "leaves a session alone that the peer may send on",
      { observation: { b: { ...seen, handshakeAtMs: now - 1000 } } },
      undefined,
    ],
    [
      "is where a session has ended",
      { observation: { b: { ...seen, handshakeAtMs: now - 200_000 } } },
      { slot: "b", ip: "8.8.8.8" },
    ],
    ["leaves the other slot to a peer that is silent", { path: { ...open, pinned: true } }, undefined],
    ["waits for a rotation", { peer: { ...peer, slots: [slot("a", "draining"), slot("b")] } }, undefined],
    ["needs a second slot", { peer: { ...peer, slots: [slot("a")] } }, undefined],
    [
      "asks the second slot, while the gate is closed, for what the first one does not ask",
      { path: closedPath, unprovenIPs: ["192.0.2.2", "2001:db8::2"] },
      { slot: "b", ip: "2001:db8::2" },
    ],
    [
      "is no other while the first slot asks it already",
      { path: closedPath, unprovenIPs: ["192.0.2.2"] },
      undefined,
    ],
  ])("%s", (_what, change, probe) => {
    expect(planProbe(facts(change), now).probe).toEqual(probe);
  });

  test("gives up a session if the peer has just sent on the other slot, and not on this one", () => {
    const handshakeAtMs = now - 1000;
    const [sends, rests] = [
      { ...seen, handshakeAtMs, dataAtMs: now - 5000 },
      { ...seen, handshakeAtMs },
    ];
    const readd = (observation: ProbeFacts["observation"]) => planProbe(facts({ observation }), now).readd;
    expect(readd({ a: sends, b: rests })).toBe("b");
    expect(
      [
        { a: sends, b: sends },
        { a: rests, b: rests },
        { a: rests, b: sends },
      ].map(readd),
    ).toEqual([...[undefined, undefined, undefined]]);
    expect(readd({ a: sends, b: { ...rests, handshakeAtMs: now - 200_000 } })).toBeUndefined();
  });

  test("gives each address ten seconds, rests for a minute, and begins again", () => {
    let memory: ProbeMemory | undefined;
    const asked: string[] = [];
    for (let second = 0; second < 100; second++) {
      const unprovenIPs = ["8.8.8.8", "192.0.2.9"];
      const plan = planProbe(
        facts({ unprovenIPs, ...(memory === undefined ? {} : { memory }) }),
        now + second * 1000,
      );
      memory = plan.memory;
      asked.push(plan.probe?.ip ?? "-");
    }
    const runs = asked.flatMap((ip, i) => (ip === asked[i - 1] ? [] : [[ip, i] as const]));
    expect(runs).toEqual([
      ["8.8.8.8", 0],
      ["192.0.2.9", 10],
      ["-", 20],
      ["8.8.8.8", 80],
      ["192.0.2.9", 90],
    ]);
  });
});
