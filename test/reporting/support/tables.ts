// The tables of faults, by title. Each is made in a lab of its own, and the test of each is a file.
import type { AgentOptions } from "../../lab/agent.ts";
import type { Fault } from "./fault.ts";
import {
  addressFaults,
  clockFaults,
  diskFaults,
  firewallFaults,
  processFaults,
  recordFaults,
} from "./host-faults.ts";
import { firewallTableFaults, routeFaults, ruleFaults, strictFaults, sysctlFaults } from "./kernel-faults.ts";
import { deviceFaults, keyAndPeerFaults } from "./wireguard-faults.ts";

export interface FaultTable {
  readonly faults: readonly Fault[];
  readonly agent?: AgentOptions;
  /** True if the clock of the nodes' agents and commands can be stepped. */
  readonly hasClock?: true;
}

export const tables = {
  "rules and routes": { faults: [...ruleFaults, ...routeFaults] },
  "nftables and sysctls": { faults: [...firewallTableFaults, ...sysctlFaults] },
  "keys and peers": { faults: keyAndPeerFaults },
  "devices and processes": { faults: [...deviceFaults, ...processFaults] },
  "firewalls and addresses": { faults: [...firewallFaults, ...addressFaults] },
  "records and disks": { faults: [...recordFaults, ...diskFaults] },
  clocks: { faults: clockFaults, hasClock: true },
  "strict mode": { faults: strictFaults, agent: { args: ["--mode", "strict"] } },
} as const satisfies Readonly<Record<string, FaultTable>>;

export type TableTitle = keyof typeof tables;
