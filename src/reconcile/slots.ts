// Finds this node's slots that cannot be used, with the reason: another program has the port or
// the name of its device, its key cannot be opened, or making the device failed. Such
// a slot is withdrawn: its device is removed, the record says so, and all traffic
// takes the other one. The reason is kept with the identity, so that every process
// and the published record agree.
import type { Slot } from "../net/record.ts";
import { type SlotFacts, slotConflicts } from "../plan/mesh/conflicts.ts";
import type { Mesh } from "../plan/mesh/model.ts";
import { slots } from "../plan/peers/path.ts";
import { type Settings, slotDevice, slotPort } from "../plan/settings/settings.ts";
import type { Step } from "../plan/step.ts";
import type { Identity, SlotFault } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import type { ApplyContext, Failure } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import type { MeshPlan } from "./mesh-plan.ts";
import {
  faultsOf,
  isSameFaults,
  type NodeReader,
  type NodeState,
  type SlotFaults,
  withFaults,
} from "./node-reader.ts";
import { makePortReader, withoutForeign } from "./observe.ts";
import { readUdpPorts } from "./ports.ts";

export const noFaults: SlotFaults = new Map();

/** Returns the slots that cannot be used, and our part of the observed mesh; `failed`: slots that could not be made. */
export function observeSlots(
  { settings, record, identity, up }: NodeState,
  seen: Mesh,
  isApplied: boolean,
  failed: SlotFaults,
): { readonly faults: SlotFaults; readonly observed: Mesh } {
  const facts: SlotFacts = {
    ...{ links: seen.links, devices: seen.devices, isApplied, isPortTaken: makePortReader() },
    ownKeys: (record?.slots ?? []).map(({ publicKey }) => publicKey),
  };
  const faults = up ? findFaults(settings, facts, failed) : faultsOf(identity);
  return { faults, observed: withoutForeign(seen, facts) };
}

/** Finds what blocks the slots now; `failed`: the slots that were tried in vain. */
function findFaults(settings: Settings, facts: SlotFacts, failed: SlotFaults): SlotFaults {
  const conflicts = slotConflicts(settings, facts).map(({ slot, text }): [Slot, SlotFault] => [
    slot,
    {
      kind: "conflict",
      reason: `Cannot use slot ${slot}: ${text} (after \`wg-cni down\`, with \`wg-cni up\`).`,
    },
  ]);
  return new Map([...failed, ...conflicts]);
}

/** Slots that the steps give a key which cannot be opened: better not begun than left half made. */
export function findLockedKeys(steps: readonly Step[], { privateKey }: ApplyContext): SlotFaults {
  const locked = new Map<Slot, SlotFault>();
  for (const step of steps) {
    if (step.do !== "configureDevice" || step.privateKeyOf === undefined) continue;
    try {
      privateKey?.(step.privateKeyOf);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      locked.set(step.privateKeyOf, { kind: "failure", reason: error.message });
    }
  }
  return locked;
}

/** Returns the slots whose device could not be made or set up. A failure that concerns a peer is not one of the slot. */
export function findBroken(settings: Settings, failures: readonly Failure[]): SlotFaults {
  const broken = new Map<Slot, SlotFault>();
  for (const { step, error } of failures) {
    const dev = deviceMadeBy(step);
    const slot = slots.find((candidate) => slotDevice(settings, candidate) === dev);
    if (slot !== undefined && !broken.has(slot)) broken.set(slot, { kind: "failure", reason: error.message });
  }
  return broken;
}

function deviceMadeBy(step: Step): string | undefined {
  switch (step.do) {
    case "addLink":
      return step.link.name;
    case "startUserspace":
      return step.dev;
    case "changeLink":
      return step.change.up === undefined ? undefined : step.dev;
    case "configureDevice": {
      const { listenPort, fwmark } = step.config;
      return (step.privateKeyOf ?? listenPort ?? fwmark) ? step.dev : undefined;
    }
    default:
      return undefined;
  }
}

/** Takes away what is left of devices that could not be set up, so that they are made from the beginning the next time. */
export function removalOf(broken: SlotFaults, settings: Settings, kernel: Kernel): Step[] {
  const names = [...broken.keys()].map((slot) => slotDevice(settings, slot));
  return names.filter((dev) => kernel.host.hasLink(dev)).map((dev) => ({ do: "deleteLink", dev }));
}

/** The slots that were tried in vain, as the store has them. */
export function failuresOf(nodes: NodeReader): SlotFaults {
  return new Map([...faultsOf(nodes.intent().identity)].filter(([, { kind }]) => kind === "failure"));
}

export function areAllFaulty(faults: SlotFaults): boolean {
  return slots.every((slot) => faults.has(slot));
}

/** Keeps what is known now; returns the generation that it makes, undefined if it was known. */
export function keepFaults(store: Store, faults: SlotFaults): number | undefined {
  if (isSameFaults(faults, faultsOf(store.identity()))) return undefined;
  return store.transaction(() => {
    store.putIdentity(withFaults(store.identity() as Identity, faults));
    return store.generation;
  });
}

/** True if a slot that is withdrawn may be had again, so that a sync is worth it. Cheap: asked at every poll. */
export function mayReturn({
  nodes,
  kernel,
}: {
  readonly nodes: NodeReader;
  readonly kernel: Kernel;
}): boolean {
  const { identity, settings } = nodes.intent();
  return [...faultsOf(identity)].some(([slot, { kind }]) => {
    if (kind === "failure") return true;
    const link = kernel.host.findLink(slotDevice(settings, slot));
    // The owner of a device of the right kind is found out below.
    const isNameTaken = link !== undefined && link.kind !== "wireguard" && link.kind !== "tun";
    return !isNameTaken && !readUdpPorts().has(slotPort(settings, slot));
  });
}

/** If no slot is left, nothing can be encrypted: that is a failure, and not only a slot's. */
export function describeLost({ faults, settings }: Pick<MeshPlan, "faults" | "settings">): Failure[] {
  return [...faults].map(([slot, { reason }]) => ({
    step: { do: "configureDevice", dev: slotDevice(settings, slot), config: {} },
    error: new Error(reason),
  }));
}
