// Which peers an agent asks the kernel about: all after a sync, one in turn at an idle poll, all again as long
// as something is wrong.
import { expect, test } from "bun:test";
import { PathCheck } from "../../src/agent/path-check.ts";
import type { PeerReach } from "../../src/plan/report/reach.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";
import type { MeshState } from "../../src/reconcile/mesh-plan.ts";

const names = ["n2", "n3", "n4"];
const state = {
  ...{ up: true, settings: parseSettings({}), node: { name: "n1", slots: [] } },
  paths: new Map(names.map((name) => [name, { slot: "a", candidate: 0, initiate: [], pinned: false }])),
  ownership: {
    peers: names.map((name) => ({
      name,
      slots: [{ slot: "a", publicKey: name, port: 51820, state: "active" }],
    })),
    refusals: [],
  },
} as unknown as MeshState;

class Kernel {
  asked: string[] = [];
  lost = new Set<string>();

  readReach(of: MeshState): Map<string, PeerReach> {
    this.asked = of.ownership.peers.map(({ name }) => name);
    const reachOf = (name: string): PeerReach =>
      this.lost.has(name) ? { reach: "lost", why: "no route" } : { reach: "tunnel", slot: "a" };
    return new Map(this.asked.map((name) => [name, reachOf(name)]));
  }
}

test("after a sync all peers are asked for, at an idle poll one in turn", () => {
  const [check, kernel] = [new PathCheck(), new Kernel()];
  const asked = (polled?: ReadonlyMap<string, never>) => {
    check.check(kernel, state, polled);
    return kernel.asked;
  };
  expect(asked()).toEqual(names);
  const idle = new Map<string, never>();
  expect([asked(idle), asked(idle), asked(idle), asked(idle)]).toEqual([["n2"], ["n3"], ["n4"], ["n2"]]);
});

test("a poll that finds one peer lost names all that are, until none is", () => {
  const [check, kernel] = [new PathCheck(), new Kernel()];
  const idle = new Map<string, never>();
  kernel.lost = new Set(["n2", "n4"]);
  expect([...check.check(kernel, state, idle).keys()]).toEqual(["n2", "n4"]);
  kernel.lost = new Set(["n4"]);
  expect([...check.check(kernel, state, idle).keys()]).toEqual(["n4"]);
  kernel.lost = new Set();
  expect([...check.check(kernel, state, idle).keys()]).toEqual([]);
  check.check(kernel, state, idle);
  expect(kernel.asked).toHaveLength(1);
});

test("a node that is down asks for nothing", () => {
  const kernel = new Kernel();
  new PathCheck().check(kernel, { ...state, up: false }, undefined);
  expect(kernel.asked).toEqual([]);
});

test("of thousands of peers a check asks for a part, and for all once one of them is lost", () => {
  const many = Array.from({ length: 1000 }, (_, i) => `n${i + 2}`);
  const [first] = state.ownership.peers;
  const large = {
    ...state,
    paths: new Map(many.map((name) => [name, state.paths?.get("n2")])),
    ownership: { peers: many.map((name) => ({ ...first, name })), refusals: [] },
  } as unknown as MeshState;
  const [check, kernel] = [new PathCheck(), new Kernel()];
  const seen = new Set<string>();
  for (let i = 0; i < 4; i++) {
    check.check(kernel, large, undefined);
    expect(kernel.asked.length).toBeLessThan(300);
    for (const name of kernel.asked) seen.add(name);
  }
  expect(seen.size).toBe(1000);
  kernel.lost = new Set(many);
  expect(check.check(kernel, large, undefined).size).toBe(1000);
});
