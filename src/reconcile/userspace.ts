// Starts the userspace WireGuard of this node's devices, and finds the devices that lack one. The agent does it
// in its passes, unless it runs in a container that has no such program: then `wg-cni userspace` does it on the
// node, and the agent configures the devices that it finds.
import type { Slot } from "../net/record.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import type { Identity } from "../state/model.ts";
import { openKernelWireGuard } from "../wireguard/kernel.ts";
import { startUserspace } from "../wireguard/start.ts";
import { openUserspaceWireGuard } from "../wireguard/uapi.ts";

/** The directories in which runtimes that pass no PATH have their programs. */
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The directories in which programs are searched for, separated by colons. */
export function searchPath(): string {
  return process.env["PATH"] ?? systemPath;
}

/** Starts the process of a device, and returns the path of its program once it answers. Throws StartError. */
export function startDevice(dev: string): string {
  // The kubelet sets the variable in every container.
  const isContainer = process.env["KUBERNETES_SERVICE_HOST"] !== undefined;
  const program = startUserspace(dev, { path: searchPath(), isContainer });
  // The daemon sets the device's MTU once more after its socket is there; it answers when that is done.
  using wireguard = openUserspaceWireGuard();
  wireguard.read(dev);
  return program;
}

/**
 * Lists the devices that the node should have by a userspace process, and does not. A slot whose name or port
 * another program has is left out. `hasLink`: of a device's name.
 */
export function listMissingDevices(
  settings: Settings,
  identity: Identity | undefined,
  hasLink: (name: string) => boolean,
): string[] {
  if (!identity?.up || settings.backend === "kernel") return [];
  const isFree = ({ fault }: Identity["slots"][number]) => fault?.kind !== "conflict";
  const names = identity.slots.filter(isFree).map(({ slot }: { slot: Slot }) => slotDevice(settings, slot));
  const missing = names.filter((name) => !hasLink(name));
  return missing.length === 0 || (settings.backend === "auto" && hasKernelWireGuard()) ? [] : missing;
}

export function hasKernelWireGuard(): boolean {
  using kernel = openKernelWireGuard();
  return kernel !== undefined;
}
