// Debian's reference plugins (package containernetworking-plugins, 1.1.1) as
// independent witnesses: the same environment and stdin, their answer.

import { test } from "bun:test";
import { existsSync } from "node:fs";
import { cniPath } from "./io.ts";

export const hasReference = existsSync(`${cniPath}/host-local`);

/** A test that needs the reference plugins; REQUIRE_KERNEL=1 turns its skip into a failure. */
export function referencePlugin(title: string, body: () => void): void {
  if (hasReference || process.env.REQUIRE_KERNEL === "1") test(title, body);
  else test.skip(`${title} (needs ${cniPath}/host-local)`, body);
}

export interface ReferenceAnswer {
  readonly exitCode: number;
  readonly json: { readonly code?: number; readonly msg?: string; readonly details?: string } & Record<
    string,
    unknown
  >;
}

/** Runs a plugin; in a network namespace of its own where `apart` (needs root). */
export function askReference(
  plugin: string,
  env: Readonly<Record<string, string | undefined>>,
  stdin: string,
  apart = false,
): ReferenceAnswer {
  const command = [...(apart ? ["/usr/bin/unshare", "-n"] : []), `${cniPath}/${plugin}`];
  const run = Bun.spawnSync(command, { env, stdin: new TextEncoder().encode(stdin), stderr: "ignore" });
  const text = run.stdout.toString();
  return { exitCode: run.exitCode, json: text === "" ? {} : JSON.parse(text) };
}
