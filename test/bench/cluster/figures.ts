// The values that are measured of several agents among many nodes, from the measurements to the report.
import type { Requests } from "../scale/figures.ts";

/** The work of the API server and the agents over some time. */
export interface Load {
  readonly seconds: number;
  /** All agents' requests. */
  readonly requests: Requests;
  /** From the API server to all nodes, with the network's headers. */
  readonly bytes: number;
  /** All agents' time on a processor. */
  readonly cpuMs: number;
}

/** A write of an agent, checked by the admission policies, while little else happens. */
export interface PolicyCost {
  readonly answeredMs: readonly number[];
  /** The API server's time on a processor, for one write. */
  readonly cpuMs: number;
}

export interface ClusterFigures {
  /** Records in the API server. */
  readonly nodes: number;
  readonly agents: number;
  /** Changes of records a second. */
  readonly rate: number;
  /** Processes that wanted to run, by the kernel's average of a minute, and the processors. */
  readonly machineLoad: number;
  readonly cores: number;
  readonly rest: Load;
  readonly policies: PolicyCost;
  /** Without the policies, which cost more than two cores have at 1,000 nodes. */
  readonly changes: Load & {
    /** Milliseconds from sending a change to the API server until it has answered. */
    readonly answeredMs: readonly number[];
    /** Milliseconds from sending a change until a client has it that only watches. */
    readonly watchedMs: readonly number[];
    /** Milliseconds from there to the route in the kernel of an agent's node; one for each agent and change. */
    readonly followedMs: readonly number[];
    /** Milliseconds from sending a change to the route in the kernel of an agent's node; one for each agent and change. */
    readonly programmedMs: readonly number[];
  };
  readonly join: Load & {
    /** Milliseconds from the start of the agent to the route of the last pair, in either direction. */
    readonly lastPairMs: number;
  };
  readonly leave: {
    /** Milliseconds from the deletion of a Node's record to the end of its routes; one for each agent. */
    readonly removedMs: readonly number[];
  };
  readonly rotation: Load & {
    /** Milliseconds from the command until the node has exchanged both keys. */
    readonly doneMs: number;
  };
}
