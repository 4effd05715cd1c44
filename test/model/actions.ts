// What happens to a node, as plain data: fast-check makes and shrinks sequences of it, and a failure prints it as JSON.
// Each action is possible in each state, so that a shrunk sequence still runs.
import fc from "fast-check";

/** The pods whose main plugin wg-cni is; there is an address less than pods. */
export const ownPods = ["s1", "s2", "s3", "s4", "s5", "s6"] as const;
/** The pods of another main plugin, with addresses of their own. */
export const chainedPods = ["k1", "k2"] as const;
export const podNames = [...ownPods, ...chainedPods] as const;
export type PodName = (typeof podNames)[number];

export const peerNames = ["n2", "n3", "n4"] as const;
export type PeerName = (typeof peerNames)[number];

export type Mode = "permissive" | "strict";
/** What is new after it: both as after a power failure, one as in a container that starts again, or after a checkpoint. */
export type Boot = "all" | "network" | "id";

export type Action =
  /** `apart`: by a process of the built program, not in the driver's. */
  | { readonly do: "add"; readonly pod: PodName; readonly apart: boolean }
  /** `told`: the runtime passes the result of the ADD. */
  | { readonly do: "del"; readonly pod: PodName; readonly told: boolean; readonly apart: boolean }
  | { readonly do: "check"; readonly pod: PodName }
  | { readonly do: "gc"; readonly valid: readonly PodName[] }
  /** The pod's namespace goes without a DEL, and an empty one comes in its place. */
  | { readonly do: "lose"; readonly pod: PodName }
  | { readonly do: "up"; readonly mode: Mode }
  | { readonly do: "down" }
  | { readonly do: "sync" }
  | {
      readonly do: "import";
      readonly peer: PeerName;
      readonly keys: number;
      readonly wide: boolean;
      readonly moved: boolean;
    }
  | { readonly do: "forget"; readonly peer: PeerName }
  | { readonly do: "rotate" }
  | { readonly do: "agent"; readonly runs: boolean }
  | { readonly do: "boot"; readonly fresh: Boot }
  /** Processes at the same time. */
  | { readonly do: "burst"; readonly calls: readonly BurstCall[]; readonly sync: boolean };

export interface BurstCall {
  readonly verb: "ADD" | "DEL";
  readonly pod: PodName;
}

const pod = fc.constantFrom<PodName>(...podNames);
const peer = fc.constantFrom<PeerName>(...peerNames);
const call: fc.Arbitrary<BurstCall> = fc.record({ verb: fc.constantFrom("ADD", "DEL"), pod });
const named = <Name extends Action["do"]>(name: Name) => fc.constant(name);

/** Most actions are calls for pods; those that take long are rare. */
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 24, arbitrary: fc.record({ do: named("add"), pod, apart: rarely(6) }) },
  { weight: 14, arbitrary: fc.record({ do: named("del"), pod, told: fc.boolean(), apart: rarely(6) }) },
  { weight: 6, arbitrary: fc.record({ do: named("check"), pod }) },
  { weight: 3, arbitrary: fc.record({ do: named("gc"), valid: fc.subarray([...podNames]) }) },
  { weight: 4, arbitrary: fc.record({ do: named("lose"), pod }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: named("up"), mode: fc.constantFrom<Mode>("permissive", "strict") }),
  },
  { weight: 2, arbitrary: fc.record({ do: named("down") }) },
  { weight: 4, arbitrary: fc.record({ do: named("sync") }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: named("import"),
      ...{ peer, keys: fc.nat({ max: 1 }), wide: fc.boolean(), moved: fc.boolean() },
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: named("forget"), peer }) },
  { weight: 2, arbitrary: fc.record({ do: named("rotate") }) },
  { weight: 1, arbitrary: fc.record({ do: named("agent"), runs: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: named("boot"), fresh: fc.constantFrom<Boot>("all", "network", "id") }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: named("burst"),
      calls: fc.uniqueArray(call, {
        minLength: 2,
        maxLength: 5,
        selector: ({ verb, pod }) => `${verb} ${pod}`,
      }),
      sync: rarely(3),
    }),
  },
);

export const sequences: fc.Arbitrary<Action[]> = fc.array(action, {
  ...{ minLength: 1, maxLength: 24 },
  size: "max",
});

/** True once in `times`; shrinks to false. */
function rarely(times: number): fc.Arbitrary<boolean> {
  return fc.nat({ max: times - 1 }).map((number) => number === times - 1);
}
