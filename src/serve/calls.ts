// Does the calls of plugin processes, one after the other, with the same code as a plugin process and
// on connections that stay open.
import { Connections, Host, ownerOf } from "../cni/host.ts";
import { withLog } from "../cni/log.ts";
import { type Done, logCall, serveRequest } from "../cni/main.ts";
import { mustProgramMesh, podFamilies } from "../cni/mesh-check.ts";
import type { Request } from "../cni/request.ts";
import { type Io, readRequest } from "../cni/skel.ts";
import { findStatus } from "../linux/file.ts";
import { findNetnsIdentity, isOwnNetns, ownNetns } from "../linux/netns.ts";
import { defaultStateDir } from "../net/state-dir.ts";
import { deleteLinksTogether } from "../netlink/link-group.ts";
import type { Owner } from "../state/model.ts";
import type { Call } from "../wire/plugin-call.ts";

/** A call that was done, and what it prints. */
export interface Served {
  readonly printed: { stdout: string; stderr: string };
  /** Absent if the call was refused before it was one of a verb. */
  readonly done?: Done;
  readonly exitCode: number;
  readonly netnsPath: string;
  /** When the pod's record was made; absent unless the call is an ADD whose answer waits. */
  readonly createdAtMs?: number;
}

export class Calls implements Disposable {
  readonly #connections: Connections;
  /** The identity of the database file. */
  #database: string | undefined;

  constructor(
    private readonly stateDir: string,
    /** Milliseconds on the host's clock that only goes forward. */
    private readonly now: () => number,
  ) {
    this.#connections = new Connections(stateDir);
  }

  /**
   * Does the call but for `settle` and `logCall`; undefined if it begins nothing, because the caller's process has to
   * do it. `netnsPath`: the place at which this process opens the pod's namespace.
   */
  async serve(call: Call, netnsPath: string): Promise<Served | undefined> {
    if (!isOfThisNode(call)) return undefined;
    const printed = { stdout: "", stderr: "" };
    const io = this.#io(call, printed, netnsPath);
    const request = readRequest(io);
    if (typeof request === "number") return { printed, exitCode: request, netnsPath };
    const host = this.#hostFor(request, netnsPath);
    if (!this.#canServe(request)) return undefined;
    const isMeshBehind = mustProgram(host, request);
    if (isMeshBehind) return undefined;
    const done = await this.#perform(io, withLog(request), host, isMeshBehind === false);
    const served = { printed, done, exitCode: done.answer.exitCode, netnsPath };
    const attachment = done.isWaiting ? host.store.findAttachment(ownerOf(request)) : undefined;
    return attachment === undefined ? served : { ...served, createdAtMs: attachment.createdAtMs };
  }

  /**
   * Removes the links of pods that end at the same time, because the kernel takes as long for one as for
   * all. The calls come afterwards, find no link, and do the rest; they report what fails here.
   */
  removeLinks(calls: readonly Call[]): void {
    const owners = calls.flatMap((call) => findEnding(call, this.stateDir) ?? []);
    if (owners.length < 2) return;
    try {
      const { store, kernel } = this.#connections;
      const links = owners.flatMap((owner) => store.findAttachment(owner)?.hostDev ?? []);
      const [group = 0] = crypto.getRandomValues(new Uint32Array(1));
      deleteLinksTogether(kernel.host, links, group);
    } catch {
      this.#connections[Symbol.dispose]();
    }
  }

  /** Ends the pod of an ADD whose caller was gone before the answer: the runtime does not know of it. */
  async takeBack({ done, exitCode, netnsPath, createdAtMs }: Served): Promise<void> {
    if (done?.request.command !== "ADD" || exitCode !== 0) return;
    const request = { ...done.request, command: "DEL" } as const;
    const host = this.#hostFor(request, netnsPath);
    // While the answer waited, the runtime may have ended the pod and begun it again.
    const isOther =
      createdAtMs !== undefined && host.store.findAttachment(ownerOf(request))?.createdAtMs !== createdAtMs;
    if (!isOther) logCall(await this.#perform(done.io, request, host));
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  /** Another plugin for addresses is found, and runs, where the caller is: perhaps outside this container. */
  #canServe({ conf }: Request): boolean {
    return conf.stateDir === this.stateDir && conf.ipam?.kind !== "delegate";
  }

  #hostFor({ netns }: Request, netnsPath: string): Host {
    this.#followDatabase();
    return new Host(this.#connections, { path: netns, openAt: netnsPath });
  }

  async #perform(io: Io, request: Request, host: Host, isMeshReady = false): Promise<Done> {
    const done = await serveRequest(io, request, host, isMeshReady);
    // After a failure a conversation with the kernel may be half-finished.
    if (done.answer.exitCode !== 0) this.#connections[Symbol.dispose]();
    else host.leavePod();
    return done;
  }

  /** The file may have been replaced, by a backup that was restored. */
  #followDatabase(): void {
    const found = findStatus(`${this.stateDir}/state.db`)?.identity;
    if (found !== this.#database) this.#connections[Symbol.dispose]();
    this.#database = found;
  }

  #io({ env, stdin, elapsedMs, sentAtMs }: Call, printed: Served["printed"], netnsPath: string): Io {
    return {
      env,
      readStdin: (maxBytes) => (stdin.length > maxBytes ? undefined : stdin),
      stdout: (text) => {
        printed.stdout += text;
      },
      stderr: (text) => {
        printed.stderr += text;
      },
      isOwnNetns: () => isOwnNetns(netnsPath),
      // A container may have a clock of its own (time_namespaces(7)).
      elapsedMs: () => elapsedMs + Math.max(0, this.now() - sentAtMs),
    };
  }
}

/**
 * True if an ADD has to program the mesh, or to wait for the agent to do it: that may take seconds, in which no other
 * call would be served. Undefined if that cannot be found out: the call fails for the same reason, in words.
 */
function mustProgram(host: Host, request: Request): boolean | undefined {
  if (request.command !== "ADD") return false;
  try {
    return mustProgramMesh(host, podFamilies(host, request));
  } catch {
    return undefined;
  }
}

/** A plugin that runs in another network namespace than this process has another node's links and routes. */
function isOfThisNode({ netns }: Call): boolean {
  return netns === findNetnsIdentity(ownNetns);
}

/** Returns the pod that a call ends; undefined if the call is another one, of another node or store, or not to be understood. */
function findEnding(call: Call, ownStateDir: string): Owner | undefined {
  const { env, stdin } = call;
  const { CNI_COMMAND, CNI_CONTAINERID: containerID, CNI_IFNAME: ifname } = env;
  if (CNI_COMMAND !== "DEL" || containerID === undefined || ifname === undefined) return undefined;
  if (!isOfThisNode(call)) return undefined;
  try {
    const conf = JSON.parse(new TextDecoder().decode(stdin)) as Readonly<Record<string, unknown>>;
    const { name, stateDir = defaultStateDir } = conf;
    return typeof name === "string" && stateDir === ownStateDir
      ? { network: name, containerID, ifname }
      : undefined;
  } catch {
    return undefined;
  }
}
