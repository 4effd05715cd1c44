// The values that are measured of an agent for each number of peers.

import type { Memory, PassCost } from "../scale/figures.ts";

export interface ChangeCost extends PassCost {
  /** From the commit of a record to the store until the kernel has the route. */
  readonly programmedMs: number;
}

export interface Growth {
  readonly peers: number;
  readonly noop: readonly PassCost[];
  readonly change: readonly ChangeCost[];
  /** Processor milliseconds of the agent in a minute in which nothing changes. */
  readonly restMs: number;
  readonly memory: Memory;
  /** Milliseconds of the first sync, and of wg setconf and ip -batch of the same. */
  readonly firstSync: { readonly ours: readonly number[]; readonly commands: readonly number[] };
}
