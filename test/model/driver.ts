// Runs inside a lab node and does what it is told, one JSON line for each request and answer: a call of the plugin or
// of the command line in this process, from the sources, which takes a quarter of what a process takes; a process of
// the built program; or several at once.
import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { runCli } from "../../src/cli/run.ts";
import { Connections, Host } from "../../src/cni/host.ts";
import { serveRequest } from "../../src/cni/main.ts";
import { readRequest } from "../../src/cni/skel.ts";
import { isOwnNetns } from "../../src/linux/netns.ts";
import { defaultStateDir } from "../../src/net/state-dir.ts";

/** A command of the node: the environment of a plugin's call, or the words of a command line. */
export interface Invocation {
  readonly env?: Readonly<Record<string, string>>;
  readonly argv?: readonly string[];
  readonly stdin?: string;
  /** Instead of a command: a query of the store's file by SQLite alone, answered as a JSON list of its first column. */
  readonly query?: string;
}

/** `program`: a process for each, all at once. Without it they run in turn in this process. */
export interface Order {
  readonly program?: string;
  readonly run: readonly Invocation[];
}

export interface Reply {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const encoder = new TextEncoder();
const product = { version: "0.0.0", build: "model" };

function collect(stdin: string) {
  const said = { stdout: "", stderr: "" };
  return {
    said,
    stdout: (text: string) => {
      said.stdout += text;
    },
    stderr: (text: string) => {
      said.stderr += text;
    },
    readStdin: () => encoder.encode(stdin),
  };
}

function ask(query: string): Reply {
  const path = `${defaultStateDir}/state.db`;
  if (!existsSync(path)) return { exitCode: 0, stdout: "[]", stderr: "" };
  using database = new Database(path, { readonly: true });
  return { exitCode: 0, stdout: JSON.stringify(database.query(query).values().flat()), stderr: "" };
}

async function here({ env, argv = [], stdin = "", query }: Invocation): Promise<Reply> {
  if (query !== undefined) return ask(query);
  const io = collect(stdin);
  if (env === undefined) {
    const exitCode = await runCli(argv, product, { ...io, coloured: false });
    return { exitCode, ...io.said };
  }
  const request = readRequest({ ...io, env, isOwnNetns, elapsedMs: () => 0 });
  if (typeof request === "number") return { exitCode: request, ...io.said };
  using connections = new Connections(request.conf.stateDir);
  const served = { ...io, env, isOwnNetns, elapsedMs: () => 0 };
  const { answer } = await serveRequest(served, request, new Host(connections));
  return { exitCode: answer.exitCode, ...io.said };
}

async function apart(program: string, { env, argv = [], stdin = "" }: Invocation): Promise<Reply> {
  const child = Bun.spawn([program, ...argv], {
    env: { PATH: process.env["PATH"] ?? "", HOME: "/root", ...env },
    stdin: new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
    timeout: 30_000,
    killSignal: "SIGKILL",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

async function perform({ program, run }: Order): Promise<Reply[]> {
  if (program !== undefined) return Promise.all(run.map((one) => apart(program, one)));
  const replies: Reply[] = [];
  for (const one of run) replies.push(await here(one));
  return replies;
}

if (import.meta.main)
  for await (const line of console) {
    const replies = await perform(JSON.parse(line) as Order);
    await Bun.write(Bun.stdout, `${JSON.stringify(replies)}\n`);
  }
