// The connections to the kernel that one run needs, opened when first used: a
// netlink socket in the node's namespace, perhaps one in a pod's, and a
// WireGuard backend. Counts what was written, so that "a no-op writes nothing"
// can be checked.
import { exists, writeFile } from "../linux/file.ts";
import { SysError } from "../linux/syscall.ts";
import type { Nft } from "../netlink/nft/table.ts";
import { Rtnl } from "../netlink/rtnl.ts";
import type { WireGuard } from "../wireguard/backend.ts";

/** Functions that open the backends. They are passed in, so that a plain ADD does not load WireGuard code. */
export interface Backends {
  /** Returns the backend for links of a kind: "wireguard" is the kernel's, a TUN link has a process behind it. */
  readonly open: (linkKind: string) => WireGuard;
  readonly hasKernel: () => boolean;
  /** Undefined if the kernel has no nftables. */
  readonly openFirewall: () => Nft | undefined;
}

/** The place at which a container whose own /proc/sys is read-only has the node's net mounted (conf/kubernetes/daemonset.yaml). */
const mountedSysctls = "/host/proc/sys";

export class Kernel implements Disposable {
  readonly host: Rtnl;
  #pod: Rtnl | undefined;
  /** The path by which the pod was entered. */
  #podNetns = "";
  #isInCall = false;
  #opened = new Map<string, WireGuard>();
  #firewall: { readonly nft: Nft | undefined } | undefined;
  #fileWrites = 0;
  /** The number of writes in pods that were left. */
  #podWrites = 0;

  constructor(private readonly backends?: Backends) {
    this.host = Rtnl.open();
  }

  /** Begins a runtime's call: names of interfaces, and the pod that was entered, stay known to its end. */
  beginCall(): void {
    this.#isInCall = true;
    this.host.holdNames();
  }

  /** Opens the pod's side; later steps marked "pod" go there. Throws SysError if there is no such namespace. */
  enterPod(netns: string): Rtnl {
    if (this.#isInCall && this.#pod !== undefined && netns === this.#podNetns) return this.#pod;
    this.leavePod();
    this.#pod = Rtnl.open(netns);
    this.#podNetns = netns;
    if (this.#isInCall) this.#pod.holdNames();
    return this.#pod;
  }

  /** An open socket would keep the pod's namespace after the pod. */
  leavePod(): void {
    this.#podWrites += this.#pod?.writes ?? 0;
    this.#pod?.[Symbol.dispose]();
    this.#pod = undefined;
  }

  get pod(): Rtnl {
    if (this.#pod === undefined) throw new Error("no pod namespace was opened");
    return this.#pod;
  }

  /** The backend for links of a kind: "wireguard" is the kernel's, a TUN link has a process behind it. */
  wireguard(linkKind: string): WireGuard {
    const known = this.#opened.get(linkKind);
    if (known !== undefined) return known;
    if (this.backends === undefined) throw new Error("this run was not given a WireGuard backend");
    const opened = this.backends.open(linkKind);
    this.#opened.set(linkKind, opened);
    return opened;
  }

  hasKernelWireGuard(): boolean {
    return this.backends?.hasKernel() ?? false;
  }

  /** nftables; undefined if the kernel has none. */
  get firewall(): Nft | undefined {
    this.#firewall ??= { nft: this.backends?.openFirewall() };
    return this.#firewall.nft;
  }

  /** Writes below /proc/sys in the node's namespace. Throws SysError. */
  writeSysctl(path: string, value: string): void {
    try {
      writeFile(`/proc/sys/${path}`, value);
    } catch (error) {
      const mounted = `${mountedSysctls}/${path}`;
      if (!isReadOnly(error) || !exists(mounted)) throw error;
      writeFile(mounted, value);
    }
    this.#fileWrites++;
  }

  /** Writes below /sys, which is the namespace's that it was mounted in. Throws SysError. */
  writeSysfs(path: string, value: string): void {
    writeFile(`/sys/${path}`, value);
    this.#fileWrites++;
  }

  /** The requests so far that have changed something; what was refused is no change. */
  get writes(): number {
    const backends = [...this.#opened.values()].reduce((sum, backend) => sum + backend.writes, 0);
    const firewall = this.#firewall?.nft?.writes ?? 0;
    const pods = this.#podWrites + (this.#pod?.writes ?? 0);
    return this.host.writes + pods + backends + firewall + this.#fileWrites;
  }

  [Symbol.dispose](): void {
    this.host[Symbol.dispose]();
    this.#pod?.[Symbol.dispose]();
    for (const backend of this.#opened.values()) backend[Symbol.dispose]();
    this.#firewall?.nft?.[Symbol.dispose]();
  }
}

/** True for errors that containers get: the mount is read-only, or AppArmor refuses. */
function isReadOnly(error: unknown): boolean {
  return error instanceof SysError && (error.code === "EROFS" || error.code === "EACCES");
}
