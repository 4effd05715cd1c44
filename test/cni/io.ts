// An Io for tests: environment and stdin in, what was printed out.
import type { Env } from "../../src/cni/env.ts";
import type { Request } from "../../src/cni/request.ts";
import { type Io, readRequest, run, type Verbs } from "../../src/cni/skel.ts";

export const cniPath = "/usr/lib/cni";

/** The environment of a call with nothing missing. */
export function fullEnv(command: string, more: Env = {}): Env {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: "c1",
    CNI_NETNS: "/run/netns/does-not-exist",
    CNI_IFNAME: "eth0",
    CNI_PATH: cniPath,
    ...more,
  };
}

export interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Verbs that ran, in order. */
  readonly calls: readonly string[];
  /** stdout, if it is JSON. */
  readonly json: { readonly code?: number; readonly msg?: string; readonly details?: string } & Record<
    string,
    unknown
  >;
}

export interface TestIo extends Io {
  readonly out: { stdout: string; stderr: string };
}

export function testIo(env: Env, stdin: string | Uint8Array, more: Partial<Io> = {}): TestIo {
  const out = { stdout: "", stderr: "" };
  const bytes = typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin;
  return {
    env,
    readStdin: (maxBytes) => (bytes.length > maxBytes ? undefined : bytes),
    stdout: (text) => {
      out.stdout += text;
    },
    stderr: (text) => {
      out.stderr += text;
    },
    isOwnNetns: () => false,
    elapsedMs: () => 0,
    out,
    ...more,
  };
}

/** Runs one call with verbs that only note that they ran. */
export function call(env: Env, stdin: unknown, verbs: Partial<Verbs> = {}, io: Partial<Io> = {}): Answer {
  const calls: string[] = [];
  const note = (name: string) => () => {
    calls.push(name);
  };
  const text = typeof stdin === "string" || stdin instanceof Uint8Array ? stdin : JSON.stringify(stdin);
  const test = testIo(env, text, io);
  const exitCode = run(test, {
    add: () => {
      calls.push("add");
      return "{}";
    },
    del: note("del"),
    check: note("check"),
    status: note("status"),
    gc: note("gc"),
    ...verbs,
  });
  const json = test.out.stdout === "" ? {} : (JSON.parse(test.out.stdout) as Answer["json"]);
  return { exitCode, ...test.out, calls, json };
}

/** The request that a call becomes. Throws if it is refused. */
export function requestOf(env: Env, conf: unknown): Request {
  const io = testIo(env, JSON.stringify(conf));
  const request = readRequest(io);
  if (typeof request === "number") throw new Error(io.out.stdout);
  return request;
}
