// What a verb gets to work with, whichever way it arrived. Types only.
import type { NetConf } from "./config.ts";
import type { Command, Env } from "./env.ts";

/** One call of the plugin, checked. */
export interface Request {
  readonly command: Command;
  readonly containerID: string;
  /** May be empty on DEL; always is on STATUS and GC. */
  readonly netns: string;
  /** CNI_NETNS_OVERRIDE: the caller insists on our own network namespace. */
  readonly netnsOverride: boolean;
  readonly ifname: string;
  readonly path: readonly string[];
  readonly args: ReadonlyMap<string, string>;
  /** All of the runtime's environment, for delegates. */
  readonly env: Env;
  readonly conf: NetConf;
  /** Says something on stderr that is no failure. */
  warn(message: string): void;
}
