// A host gives a verb the store and the kernel, which it opens at the first use. Nothing is closed: the process leaves by exit_group, which skips the
// database's closing checkpoint and its two fsyncs.
import { readBootId } from "../linux/boot.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { Kernel } from "../reconcile/kernel.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import type { Owner } from "../state/model.ts";
import { Store } from "../state/store.ts";
import type { Request } from "./request.ts";

export class Host {
  #store: Store | undefined;
  #kernel: Kernel | undefined;
  #settings: Settings | undefined;

  readonly bootId = readBootId();

  /** Present if the table of pods was absent when the call began (pod-firewall.ts). */
  makePodFirewall?: () => void;

  constructor(readonly stateDir: string) {}

  get store(): Store {
    this.#store ??= Store.open(this.stateDir, this.bootId);
    return this.#store;
  }

  get kernel(): Kernel {
    this.#kernel ??= new Kernel();
    return this.#kernel;
  }

  get settings(): Settings {
    this.#settings ??= readSettings(this.store);
    return this.#settings;
  }
}

/** Returns the attachment's name in the store. */
export function ownerOf({ conf, containerID, ifname }: Request): Owner {
  return { network: conf.name, containerID, ifname };
}
