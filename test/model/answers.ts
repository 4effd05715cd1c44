// What a command has answered, against what it should.
import { expect } from "bun:test";
import type { Reply } from "./driver.ts";
import type { Live } from "./model.ts";

/** The command line's codes (docs/reference/cli.md). */
export const exits = { done: 0, failed: 1, usage: 2, notSo: 3 } as const;

export function liveOf(reply: Reply): Live {
  const { interfaces = [], ips = [] } = JSON.parse(reply.stdout);
  return { hostDev: interfaces[0].name, ips: ips.map(({ address }: { address: string }) => hostOf(address)) };
}

export function hostOf(address: string): string {
  return address.slice(0, address.indexOf("/"));
}

export function expectExit(reply: Reply, exitCode: number): void {
  expect(reply).toMatchObject({ exitCode });
}

export function expectCode(reply: Reply, code: number): void {
  expect({ ...reply, code: reply.exitCode === 0 ? 0 : JSON.parse(reply.stdout).code }).toMatchObject({
    exitCode: 1,
    code,
  });
}
