// One call of the built plugin on a lab node, and what it answered.

import type { Node } from "../../lab/node.ts";
import { cniPath } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import type { AttachOptions, CniResult, Verb } from "../../lab/runtime.ts";

export const allVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
  /** stdout, if it is JSON: the result, or the error. */
  readonly json: CniResult & Partial<PluginFailure> & Record<string, unknown>;
}

export interface PluginFailure {
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

/** Text goes to the plugin's stdin as it is, everything else as JSON. Never throws for an exit code. */
export async function call(
  node: Node,
  verb: Verb,
  conf: unknown,
  pod?: Pod,
  options: AttachOptions = {},
): Promise<Answer> {
  const text = typeof conf === "string" ? conf : JSON.stringify(conf);
  const { exitCode, stdout, stderr, milliseconds } = await node.runtime.plugin(
    verb,
    "wg-cni",
    text,
    pod,
    options,
  );
  return { exitCode, stdout, stderr, milliseconds, json: stdout === "" ? {} : JSON.parse(stdout) };
}

/** A call that has to succeed; throws with what the plugin said where it does not. */
export async function succeed(...args: Parameters<typeof call>): Promise<Answer> {
  const answer = await call(...args);
  if (answer.exitCode === 0) return answer;
  throw new Error(`${args[1]} failed with ${answer.exitCode}: ${answer.stdout}${answer.stderr}`);
}

/** A call that has to fail as the specification says: an exit code, and an error on stdout. */
export async function refuse(...args: Parameters<typeof call>): Promise<PluginFailure & { stderr: string }> {
  const { exitCode, stdout, stderr, json } = await call(...args);
  if (exitCode === 0) throw new Error(`${args[1]} succeeded: ${stdout}`);
  const { code, msg, details } = json;
  if (code === undefined || msg === undefined) throw new Error(`${args[1]} printed no error: ${stdout}`);
  return { code, msg, stderr, ...(details === undefined ? {} : { details }) };
}

/** The environment for a pod whose namespace the caller does not know (any more). */
export const emptyNetns: AttachOptions = { env: { CNI_NETNS: "" } };

/** CNI_PATH as the lab's runtime sets it. */
export const pluginPath = cniPath.join(":");
