// The interface of every WireGuard backend. The kernel's is kernel.ts, that of a
// process with a TUN device uapi.ts; the rest of the program does not care.
import type { Backend, Device, DeviceConfig } from "../net/device.ts";

export interface WireGuard extends Disposable {
  readonly backend: Backend;
  /** The requests so far that have changed something; refused ones are not counted. */
  readonly writes: number;
  /** The device as it is, or undefined if there is none of that name. */
  read(name: string): Device | undefined;
  /** Does the same as read, for several at once, in the order of their names. */
  readAll(names: readonly string[]): (Device | undefined)[];
  /** Applies a change; if it fails, an unknown part of it may have been applied. It may be repeated. */
  configure(name: string, config: DeviceConfig): void;
}
