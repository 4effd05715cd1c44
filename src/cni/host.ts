// A host gives a verb the store, the kernel and the pod's namespace. A plugin process closes nothing: it leaves by exit_group, which skips the
// database's closing checkpoint and its two fsyncs.
import { readBootId } from "../linux/boot.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { Kernel } from "../reconcile/kernel.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import type { AppliedState, Identity, Owner } from "../state/model.ts";
import { Store } from "../state/store.ts";
import type { Request } from "./request.ts";

/** The facts that hold as long as the store's generation does. */
class Intent {
  #identity: { readonly found: Identity | undefined } | undefined;

  constructor(
    private readonly store: Store,
    readonly generation: number,
    readonly settings: Settings,
  ) {}

  /** It is read when first asked for, because only an ADD needs it. Undefined if the node has none yet. */
  get identity(): Identity | undefined {
    this.#identity ??= { found: this.store.identity() };
    return this.#identity.found;
  }
}

/** The connections that calls need, opened at the first use. The plugin server keeps them from call to call. */
export class Connections implements Disposable {
  #store: Store | undefined;
  #intent: Intent | undefined;
  #kernel: Kernel | undefined;
  #bootId: string | undefined;

  constructor(readonly stateDir: string) {}

  get bootId(): string {
    this.#bootId ??= readBootId();
    return this.#bootId;
  }

  get store(): Store {
    this.#store ??= Store.open(this.stateDir, this.bootId);
    return this.#store;
  }

  get kernel(): Kernel {
    this.#kernel ??= new Kernel();
    return this.#kernel;
  }

  /** Reads the intent again only if its generation is another one. Throws StoreError, ParseError. */
  readIntent(): Intent {
    const { store } = this;
    // The generation is read first: a later commit makes the one that we note too old, and the next call reads again.
    const { generation } = store;
    if (this.#intent?.generation !== generation)
      this.#intent = new Intent(store, generation, readSettings(store));
    return this.#intent;
  }

  leavePod(): void {
    this.#kernel?.leavePod();
  }

  [Symbol.dispose](): void {
    // The next store may be another file, whose generations are its own.
    this.#intent = undefined;
    this.#kernel?.[Symbol.dispose]();
    this.#kernel = undefined;
    this.#store?.[Symbol.dispose]();
    this.#store = undefined;
  }
}

/** A network namespace that this process has open under another path than its own. */
export interface PassedNetns {
  readonly path: string;
  readonly openAt: string;
}

/** One call. */
export class Host {
  #intent: Intent | undefined;
  #applied: { readonly found: AppliedState | undefined } | undefined;
  #hasBegun = false;

  /** Present if the table of pods may have to be made (pod-firewall.ts). */
  makePodFirewall?: () => void;

  constructor(
    private readonly connections: Connections,
    private readonly passed?: PassedNetns,
  ) {}

  get stateDir(): string {
    return this.connections.stateDir;
  }

  get bootId(): string {
    return this.connections.bootId;
  }

  get store(): Store {
    return this.connections.store;
  }

  get kernel(): Kernel {
    const { kernel } = this.connections;
    if (!this.#hasBegun) kernel.beginCall();
    this.#hasBegun = true;
    return kernel;
  }

  get settings(): Settings {
    return this.intent.settings;
  }

  /** As it was when first asked for. Throws StoreError, ParseError. */
  get intent(): Intent {
    this.#intent ??= this.connections.readIntent();
    return this.#intent;
  }

  /** The state that was programmed, as it was when first asked for; undefined if that is not known. Throws StoreError. */
  get applied(): AppliedState | undefined {
    this.#applied ??= { found: this.store.applied() };
    return this.#applied.found;
  }

  /** To be called after the mesh was programmed. */
  forgetState(): void {
    this.#intent = undefined;
    this.#applied = undefined;
  }

  /** Ends what a call has opened of the pod; the rest stays for the next call. */
  leavePod(): void {
    this.connections.leavePod();
  }

  /** The path at which this process opens the network namespace that the runtime or a record names. */
  locateNetns(path: string): string {
    return this.passed !== undefined && path === this.passed.path ? this.passed.openAt : path;
  }
}

/** Returns the attachment's name in the store. */
export function ownerOf({ conf, containerID, ifname }: Request): Owner {
  return { network: conf.name, containerID, ifname };
}
