// The values that are measured of an agent among thousands of nodes, from the measurements to the
// report.

/** By "VERB RESOURCE", for instance "list wireguardnodes". */
export type Requests = Readonly<Record<string, number>>;

/** In bytes, as the kernel counts a process. */
export interface Memory {
  readonly resident: number;
  /** Memory that is shared with other processes counts by its share. */
  readonly proportional: number;
  /** The most that was resident since its start. */
  readonly peak: number;
}

/** One pass of the agent, by its own log and the kernel's accounts. */
export interface PassCost {
  /** Comparing kernel and store, and programming what differs. */
  readonly syncMs: number;
  /** All that the process did for it, with what it hears of its own doing. */
  readonly cpuMs: number;
  readonly writes: number;
}

export interface ChangeCost extends PassCost {
  /** From the request that changes a record to the allowed IPs and the route. */
  readonly programmedMs: number;
  /** From the API server to the node, with headers of the network. */
  readonly bytes: number;
  readonly requests: Requests;
  /** Peers that the store has written. */
  readonly rows: number;
}

/** Milliseconds of ADDs, one after the other, taking turns. */
export interface AddTimes {
  readonly ours: readonly number[];
  readonly ptp: readonly number[];
}

export interface Figures {
  readonly peers: number;
  /** Processes that wanted to run, by the kernel's average of five minutes, and what could run them. */
  readonly load: number;
  readonly cores: number;
  readonly memory: {
    /** With the same peers, and no API. */
    readonly imported: Memory;
    readonly api: Memory;
    /** A node that nobody knows yet, and no peer answers. */
    readonly joined: Memory;
  };
  readonly start: {
    readonly requests: Requests;
    readonly bytes: number;
    /** From its start, of a node that nobody knows yet, until all peers are programmed. */
    readonly joinedMs: number;
  };
  readonly rest: {
    readonly seconds: number;
    readonly requests: Requests;
    readonly bytes: number;
    readonly cpuMs: number;
    readonly writes: number;
  };
  readonly noop: readonly PassCost[];
  readonly change: readonly ChangeCost[];
  readonly relist: {
    readonly requests: Requests;
    readonly bytes: number;
    /** From the first request until the store has been compared. */
    readonly ms: number;
    readonly rows: number;
    readonly writes: number;
  };
  readonly adds: {
    /** While an agent programs all peers after a restart of its node. */
    readonly during: AddTimes;
    readonly afterwards: AddTimes;
  };
  /** Milliseconds, taking turns. */
  readonly firstSync: {
    readonly ours: readonly number[];
    /** wg setconf and ip -batch of the same. */
    readonly commands: readonly number[];
    /** nft -f of the same, which the commands are not charged with. */
    readonly firewall: readonly number[];
  };
}
