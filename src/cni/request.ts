// The request that a verb works on. Types only.
import type { NetConf } from "./config.ts";
import type { Command, Env } from "./env.ts";

/** One checked call of the plugin. */
export interface Request {
  readonly command: Command;
  readonly containerID: string;
  /** It may be empty on DEL, and is always empty on STATUS and GC. */
  readonly netns: string;
  /** CNI_NETNS_OVERRIDE: the caller insists on our own network namespace. */
  readonly netnsOverride: boolean;
  readonly ifname: string;
  readonly path: readonly string[];
  readonly args: ReadonlyMap<string, string>;
  /** All of the runtime's environment, for delegates. */
  readonly env: Env;
  readonly conf: NetConf;
  /** Prints a warning to stderr. */
  warn(message: string): void;
}
