// `status` and `doctor` agree about one and the same node: if one ends with exit code 3, so does the other,
// except for what only `doctor` looks at.
import { describe, expect, test } from "bun:test";
import { isAsItShouldBe } from "../../src/cli/verdict.ts";
import { checks, examine } from "../../src/doctor/examine.ts";
import type { Facts, KernelFacts } from "../../src/doctor/facts.ts";
import { type AgentStatus, isAgentWell } from "../../src/plan/report/agent-status.ts";
import { isWell, type PeerStatus, peerStates } from "../../src/plan/report/peer-status.ts";
import { type Reach, reaches } from "../../src/plan/report/reach.ts";
import { type Mode, parseSettings } from "../../src/plan/settings/settings.ts";
import { healthy, kernel, node, peer, plan } from "../doctor/facts.ts";

const modes: readonly Mode[] = ["off", "permissive", "strict"];
/** The ways that packets for a peer may be meant to take; nobody means them to be lost. */
const intents: Readonly<Record<Mode, readonly Reach[]>> = {
  off: ["plaintext", "refused"],
  permissive: ["tunnel", "plaintext", "refused"],
  strict: ["tunnel", "refused"],
};

/** `status` does not look at these, or says it by its peers: each has a reason that is the host's, not the mesh's. */
const onlyDoctors = ["store", "disk", "seal key", "observation", "conflicts", "reverse path", "pod links"];

function exitCodes(facts: Facts) {
  const failed = examine(facts).filter(({ level }) => level === "fail");
  const { plan, peers, hasFirewall } = facts.kernel as KernelFacts;
  const { agent, gated, settings, overrides } = facts.node as NonNullable<Facts["node"]>;
  const agentIsWell = isAgentWell(agent, { isGated: gated, settings, overrides });
  const isGood = isAsItShouldBe({ plan, peers, hasFirewall, isAgentWell: agentIsWell });
  return {
    status: isGood ? 0 : 3,
    doctor: failed.some(({ name }) => !onlyDoctors.includes(name)) ? 3 : 0,
    failed: failed.map(({ name }) => name),
  };
}

/** A peer as describePeers() makes it: `drift` if packets take another way than intended, `ready` in mode off alone. */
function peersOf(reach: Reach, intended: Reach, mode: Mode): PeerStatus[] {
  if (reach !== intended) return [{ ...peer, state: "drift", reach, intent: { reach: intended } }];
  const isIn = ["encrypted", "idle", "unanswered", "silent"];
  const states = peerStates.filter(
    (state) =>
      state !== "drift" &&
      (state !== "ready" || mode === "off") &&
      isIn.includes(state) === (reach === "tunnel"),
  );
  return states.flatMap((state) =>
    [0, 444].map((txBytes) => ({ ...peer, state, reach, intent: { reach }, txBytes })),
  );
}

const withPeers = (peers: readonly PeerStatus[], mode: string, change: Partial<KernelFacts> = {}): Facts => ({
  ...healthy,
  kernel: { ...kernel, peers, plan: { ...plan, settings: parseSettings({ mode }) }, ...change },
});

const agents: readonly (readonly [name: string, AgentStatus, code: number])[] = [
  ["running", { state: "running", startedAtMs: 1, lastPassAtMs: 2 }, 0],
  ["running, of a version without a report", { state: "running" }, 0],
  ["running and not ready", { state: "running", startedAtMs: 1, problem: "A sentence." }, 3],
  ["stopped or hung", { state: "unanswering", problem: "The agent does not answer." }, 3],
  ["without its socket", { state: "unanswering", problem: "An agent runs, but cannot be asked." }, 3],
  ["absent", { state: "absent" }, 3],
];

describe("status and doctor", () => {
  const rows = modes.flatMap((mode) =>
    reaches.flatMap((reach) => intents[mode].map((intent) => ({ mode, reach, intent }))),
  );

  test.each(rows)(
    "agree in mode $mode about a peer whose packets are $reach and should be $intent",
    (row) => {
      for (const one of peersOf(row.reach, row.intent, row.mode)) {
        const { status, doctor, failed } = exitCodes(withPeers([one], row.mode));
        expect({ peer: one.state, status, failed }).toEqual({ peer: one.state, status: doctor, failed });
        expect(status).toBe(isWell(one, row.mode) ? 0 : 3);
      }
    },
  );

  test.each(agents)("agree about an agent that is %s", (_, agent, code) => {
    const { status, doctor } = exitCodes({ ...healthy, node: { ...node, agent } });
    expect({ status, doctor }).toEqual({ status: code, doctor: code });
  });

  test("agree that nothing is missing without an agent if nothing needs one, and what needs one", () => {
    const agentless = { ...node, agent: { state: "absent" as const }, gated: false };
    const codes = (change: Partial<typeof node>) =>
      exitCodes({ ...healthy, node: { ...agentless, ...change } as typeof node });
    expect(codes({})).toMatchObject({ status: 0, doctor: 0 });
    for (const settings of [{ recordsDir: "/r" }, { kubeconfig: "/k" }, { hostEncryption: true }])
      expect(codes({ settings: parseSettings(settings) })).toMatchObject({ status: 3, doctor: 3 });
    expect(codes({ overrides: { keyRotation: 3600 } })).toMatchObject({ status: 3, doctor: 3 });
  });

  test("agree about the node itself", () => {
    const reason = "Cannot use slot b.";
    const a = ["a", { kind: "conflict", reason }] as const;
    const b = ["b", { kind: "conflict", reason }] as const;
    const off = { state: "off", text: "off" } as const;
    const cases: readonly (readonly [Partial<KernelFacts["plan"]>, number])[] = [
      [{ steps: [{ do: "deleteLink", dev: "wg-cni-b" }] }, 3],
      [{ faults: new Map([b]) }, 0],
      [{ faults: new Map([a, b]) }, 3],
      [{ faults: new Map([["b", { kind: "failure", reason }]]) }, 3],
      [{ hostEncryption: { ...off, state: "on" } }, 0],
      [{ hostEncryption: { ...off, state: "reverted" } }, 3],
      [{ hostEncryption: { ...off, state: "needs-agent" } }, 3],
      [{ hostEncryption: { ...off, state: "needs-nftables" } }, 3],
    ];
    for (const [change, code] of cases) {
      const changed = { ...plan, ...change };
      const faults = [...changed.faults.values()].map((fault) => fault.reason);
      expect([change, exitCodes({ ...healthy, kernel: { ...kernel, plan: changed, faults } })]).toMatchObject(
        [change, { status: code, doctor: code }],
      );
    }
    const firewalls = modes.map((mode) => exitCodes(withPeers([peer], mode, { hasFirewall: false })));
    expect(firewalls.map(({ status }) => status)).toEqual(firewalls.map(({ doctor }) => doctor));
  });

  test("every check that only doctor makes is one of its checks", () => {
    const names = checks.map(({ name }) => name);
    expect(onlyDoctors.filter((name) => !names.includes(name))).toEqual([]);
  });
});
