// Hands a call to the plugin server of this node's agent, whose code is warm and whose store is open.
// A call that no server has taken is for this process to do. One that a server has taken is done here
// only after the server's end, so that two never work on one pod at once.
import { Errno } from "../linux/errno.ts";
import { findStatus, openFile, readText } from "../linux/file.ts";
import { ownNetns } from "../linux/netns.ts";
import type { Socket } from "../linux/socket.ts";
import { SysError } from "../linux/syscall.ts";
import { connectUnix, peerOf, sendWithFd } from "../linux/unix-socket.ts";
import { newestVersion } from "../net/cni-version.ts";
import { messageOf } from "../net/error.ts";
import { defaultStateDir, pluginSocket } from "../net/state-dir.ts";
import { encodeCall, type Reply, ReplyReader } from "../wire/plugin-call.ts";
import { type Env, parseEnv } from "./env.ts";
import { CniError, formatError } from "./error.ts";

/** How long this process waits for a server. */
export interface Patience {
  readonly helloSeconds: number;
  /** So many times it waits again if the kernel keeps the server waiting: it would keep this process waiting, too. */
  readonly kernelTurns: number;
  readonly answerSeconds: number;
}

/**
 * A server that runs greets at once, or after the call that it is doing. One that does not is stopped or has too
 * little of a processor, and this process is faster. kubelet ends a call after two minutes.
 */
const defaultPatience: Patience = { helloSeconds: 0.25, kernelTurns: 8, answerSeconds: 60 };
const O_PATH = 0o10000000;
const receiveBytes = 16_384;

export interface Caller {
  readonly env: Env;
  /** The build of this executable: a server of another one is not asked. */
  readonly build: string;
  /** The age of this process in milliseconds. */
  readonly elapsedMs: () => number;
  /** Milliseconds on the host's clock that only goes forward. */
  readonly nowMs: () => number;
  /** Returns all of standard input, or undefined if it is larger than the plugin takes. */
  readonly readStdin: () => Uint8Array | undefined;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/** Returns the exit code of the call, or undefined if it is for this process to do. */
export function askServer(caller: Caller, patience = defaultPatience): number | undefined {
  const answer = findAnswer(caller, patience);
  if (answer === undefined) return undefined;
  // From here on the call is done, so an output that is closed must not lead to a second one.
  if (answer.stderr !== "") caller.stderr(answer.stderr);
  if (answer.stdout !== "") caller.stdout(answer.stdout);
  return answer.exitCode;
}

interface Answer {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

function findAnswer(caller: Caller, patience: Patience): Answer | undefined {
  const { helloSeconds, answerSeconds } = patience;
  try {
    const { netns } = parseEnv(caller.env);
    const stdin = caller.readStdin();
    if (stdin === undefined) return undefined;
    const conf = readConf(stdin);
    using socket = connectUnix(pluginSocket(conf.stateDir), helloSeconds);
    const buffer = new Uint8Array(receiveBytes);
    const replies = new ReplyReader(() => buffer.slice(0, socket.receiveStream(buffer)));
    const { pid, uid } = peerOf(socket);
    if (uid !== 0) return undefined;
    // Meanwhile the server wakes up and greets.
    const call = prepareCall(caller, stdin, netns);
    const hello = awaitHello(replies, pid, patience.kernelTurns);
    if (hello?.kind !== "hello" || hello.text !== caller.build) return undefined;
    sendCall(socket, call);
    socket.setTimeLimit(answerSeconds);
    return readAnswer(replies, (why) => describeFailure(why, conf.cniVersion));
  } catch {
    // The call is wrong, or there is no server: this process does it, and explains what is wrong.
    return undefined;
  }
}

/** Throws SysError if the server does not greet in time. */
function awaitHello(replies: ReplyReader, pid: number, kernelTurns: number): Reply | undefined {
  for (let turn = 0; ; turn++) {
    try {
      return replies.next();
    } catch (error) {
      const isLate = error instanceof SysError && error.errno === Errno.EAGAIN;
      if (!isLate || turn === kernelTurns || !isInKernel(pid)) throw error;
    }
  }
}

/** True if the process waits for work of the kernel (proc_pid_stat(5), state D), such as other changes to the network. */
function isInKernel(pid: number): boolean {
  const status = readText(`/proc/${pid}/stat`);
  return status.startsWith(" D", status.lastIndexOf(")") + 1);
}

interface ConfHead {
  readonly stateDir: string;
  readonly cniVersion: string;
}

/** Reads only the place of the server, and the version for an error. Throws on text that is no JSON. */
function readConf(stdin: Uint8Array): ConfHead {
  const conf = JSON.parse(new TextDecoder().decode(stdin)) as Readonly<Record<string, unknown>>;
  const { stateDir, cniVersion } = conf;
  return {
    stateDir: typeof stateDir === "string" ? stateDir : defaultStateDir,
    cniVersion: typeof cniVersion === "string" ? cniVersion : newestVersion,
  };
}

interface PreparedCall {
  readonly bytes: Uint8Array;
  /** The pod's namespace. The end of the process closes it, after the call. */
  readonly netnsFd: number | undefined;
}

/** The server may not see the path of the pod's namespace, so it gets the namespace itself. */
function prepareCall(caller: Caller, stdin: Uint8Array, netns: string): PreparedCall {
  const bytes = encodeCall({
    env: cniVariables(caller.env),
    netns: findStatus(ownNetns)?.identity ?? "",
    elapsedMs: caller.elapsedMs(),
    sentAtMs: caller.nowMs(),
    stdin,
  });
  return { bytes, netnsFd: openPath(netns) };
}

function sendCall(socket: Socket, { bytes, netnsFd }: PreparedCall): void {
  if (netnsFd === undefined) socket.send(bytes);
  else sendWithFd(socket, bytes, netnsFd);
}

/** Undefined if there is nothing at the path: what that means depends on the verb. */
function openPath(path: string): number | undefined {
  if (path === "") return undefined;
  try {
    return openFile(path, O_PATH);
  } catch (error) {
    if (error instanceof SysError) return undefined;
    throw error;
  }
}

function cniVariables(env: Env): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name in env) {
    const value = env[name];
    if (value !== undefined && name.startsWith("CNI_")) found[name] = value;
  }
  return found;
}

/** Returns the complete answer. A server that ends before has left the call to this process. */
function readAnswer(replies: ReplyReader, refuse: (why: string) => string): Answer | undefined {
  const texts = { stdout: "", stderr: "" };
  try {
    for (;;) {
      const reply = replies.next();
      if (reply === undefined || reply.kind === "declined") return undefined;
      if (reply.kind === "exit") return { exitCode: Number(reply.text), ...texts };
      if (reply.kind !== "hello") texts[reply.kind] += reply.text;
    }
  } catch (error) {
    if (error instanceof SysError && error.errno === Errno.ECONNRESET) return undefined;
    // The server is there and may do the call yet, so this process must not.
    return { exitCode: 1, stdout: refuse(messageOf(error)), stderr: texts.stderr };
  }
}

function describeFailure(why: string, cniVersion: string): string {
  const msg = "The agent has taken the call and not answered it. Try again.";
  return `${formatError(new CniError("tryAgain", msg, { details: why }), cniVersion)}\n`;
}
