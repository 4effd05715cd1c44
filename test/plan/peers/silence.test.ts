// Whose fault silence is: the peer's that does not answer, or this node's, which hears nobody.
import { describe, expect, test } from "bun:test";
import { type GateState, open } from "../../../src/plan/peers/gate-state.ts";
import type { PeerObservation } from "../../../src/plan/peers/observation.ts";
import { judgeSilence } from "../../../src/plan/peers/silence.ts";
import { ago, observation } from "./gates.ts";

const silent = (seconds: number): GateState => ({
  ...{ kind: "silent", before: open(0), silentSinceMs: ago(seconds) },
  ...{ step: "re-add", stepAtMs: ago(1), round: 1 },
});
const isOpen = open(0);
const heard = (seconds: number): PeerObservation => ({ a: observation({ heardAtMs: ago(seconds) }) });

interface Case {
  readonly states: Readonly<Record<string, GateState>>;
  readonly observations?: Readonly<Record<string, PeerObservation>>;
  readonly hasStalled?: boolean;
  readonly cutOff?: "stalled" | "unanswered";
  readonly witnesses?: readonly string[];
}

const cases: Readonly<Record<string, Case>> = {
  "no peer is silent": { states: { n2: isOpen } },
  "the only peer is silent": { states: { n2: silent(40) }, cutOff: "unanswered" },
  "all peers are silent": { states: { n2: silent(40), n3: silent(9) }, cutOff: "unanswered" },
  "one peer is silent, and another was heard since": {
    states: { n2: silent(40), n3: isOpen },
    observations: { n3: heard(39) },
  },
  "one peer is silent, and nothing came from another, which is asked": {
    states: { n2: silent(40), n3: isOpen },
    observations: { n3: heard(41) },
    witnesses: ["n3"],
  },
  "one of many is silent: the two that were heard last are asked": {
    states: { n2: silent(40), n3: isOpen, n4: isOpen, n5: isOpen },
    observations: { n3: heard(50), n4: heard(70), n5: heard(60) },
    witnesses: ["n3", "n5"],
  },
  "peers that are not in the tunnel are not asked": {
    states: { n2: silent(40), n3: { kind: "keyless", sinceMs: 0 } },
    cutOff: "unanswered",
  },
  "both witnesses are silent, too": {
    states: { n2: silent(90), n3: silent(50), n4: silent(50), n5: isOpen, n6: isOpen },
    observations: { n5: heard(80) },
    cutOff: "unanswered",
  },
  "a peer died long ago, and all others are silent now": {
    states: { n2: silent(9000), n3: silent(40) },
    observations: { n3: heard(41) },
    cutOff: "unanswered",
  },
  "nothing leaves a device, whatever is heard": {
    states: { n2: silent(40), n3: isOpen },
    observations: { n3: heard(1) },
    hasStalled: true,
    cutOff: "stalled",
  },
};

describe("judgeSilence, if", () => {
  test.each(Object.entries(cases))(
    "%s",
    (_, { states, observations = {}, hasStalled = false, ...expected }) => {
      const facts = { states: new Map(Object.entries(states)), hasStalled };
      const judged = judgeSilence({ ...facts, observations: new Map(Object.entries(observations)) });
      expect(judged.cutOff).toBe(expected.cutOff as typeof judged.cutOff);
      expect([...judged.witnesses].sort()).toEqual([...(expected.witnesses ?? [])]);
      const names = Object.entries(states).filter(([, { kind }]) => kind === "silent");
      expect([...judged.silent]).toEqual(names.map(([name]) => name));
    },
  );
});
