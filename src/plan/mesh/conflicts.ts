// Conflicts: another program already holds something that we use: a device name, a port, a rule,
// a table. The first `up` refuses all conflicts, because other names and numbers can be chosen then
// without a loss. Later a conflict affects only its own object: a device name or a port costs its slot
// (`slotConflicts`), a rule or a route in our tables leads to a warning, as on a node that is running.
// Each finding is a sentence with a remedy. Pure.
import type { Link, Route, Rule } from "../../net/objects.ts";
import type { Slot } from "../../net/record.ts";
import { slots } from "../peers/path.ts";
import { type Settings, slotDevice, slotPort } from "../settings/settings.ts";
import { renderRoute } from "../step.ts";
import { judgeRule } from "./foreign-rules.ts";
import type { MeshDevice, MeshLink } from "./model.ts";

export interface HostFacts {
  readonly links: readonly Link[];
  readonly rules: readonly Rule[];
  /** The routes of our two tables. */
  readonly routes: readonly Route[];
  readonly slots: SlotFacts;
}

/** The facts that decide if a slot's device can be made. */
export interface SlotFacts {
  /** Links with the names of our devices, made by us or by another program. */
  readonly links: ReadonlyMap<string, Pick<MeshLink, "kind" | "up">>;
  /** The links of these that are WireGuard devices and answer. */
  readonly devices: ReadonlyMap<string, Pick<MeshDevice, "publicKey">>;
  /** Public keys of this node. */
  readonly ownKeys: readonly string[];
  /** True if this kernel was programmed by us before: a device may still have the key before this one. */
  readonly isApplied: boolean;
  /** True if a UDP socket has the port, on any address. It is called only if the socket cannot be a device of ours. */
  readonly isPortTaken: (port: number) => boolean;
}

export interface Conflict {
  readonly kind: "calico" | "device" | "port" | "table" | "order" | "mark";
  /** The slot that cannot be used because of it. */
  readonly slot?: Slot;
  /** A sentence with a remedy. */
  readonly text: string;
}

/** Returns all conflicts; the list is empty if there are none. */
export function findConflicts(settings: Settings, host: HostFacts): Conflict[] {
  return [
    ...calico(host),
    ...slotConflicts(settings, host.slots),
    ...host.rules.flatMap((rule) => {
      const verdict = judgeRule(settings, rule);
      return verdict === undefined ? [] : [{ kind: verdict.harm, text: verdict.text }];
    }),
    ...tables(settings, host),
  ];
}

/** Returns at most one conflict for each slot. */
export function slotConflicts(settings: Settings, facts: SlotFacts): (Conflict & { readonly slot: Slot })[] {
  return slots.flatMap((slot) => {
    const conflict = takenName(settings, facts, slot) ?? takenPort(settings, facts, slot);
    return conflict === undefined ? [] : [{ ...conflict, slot }];
  });
}

/** True if a link has a device's name and is not ours. */
export function isForeign(name: string, facts: SlotFacts): boolean {
  return describeForeign(name, facts) !== undefined;
}

/** A predicate of the link that has a device's name and is not ours; undefined if it is ours, or there is none. */
function describeForeign(
  name: string,
  { links, devices, ownKeys, isApplied }: SlotFacts,
): string | undefined {
  const link = links.get(name);
  if (link === undefined) return undefined;
  if (link.kind !== "wireguard" && link.kind !== "tun")
    return `is taken by a ${link.kind || "hardware"} interface of another program`;
  if (isApplied) return undefined;
  const device = devices.get(name);
  if (device === undefined)
    return link.kind === "tun"
      ? "is taken by a TUN interface, and no WireGuard process answers for it"
      : "is taken by a WireGuard device that does not answer";
  // A device without a key was made by a sync that was killed before it configured the device.
  if (device.publicKey === undefined || ownKeys.includes(device.publicKey)) return undefined;
  return `is taken by a WireGuard device with the key ${device.publicKey}, which is not one of this node's`;
}

function takenName(settings: Settings, facts: SlotFacts, slot: Slot): Conflict | undefined {
  const name = slotDevice(settings, slot);
  const why = describeForeign(name, facts);
  if (why === undefined) return undefined;
  return {
    kind: "device",
    text: `device name ${name} ${why}: choose another with --device-${slot}, or delete the interface if nothing uses it (\`ip link delete ${name}\`)`,
  };
}

/** A device that is up has its port, and one of a process from when it came up on. */
function takenPort(settings: Settings, { links, isPortTaken }: SlotFacts, slot: Slot): Conflict | undefined {
  const link = links.get(slotDevice(settings, slot));
  const port = slotPort(settings, slot);
  const hasPort = link !== undefined && (link.up || link.kind !== "wireguard");
  if (hasPort || !isPortTaken(port)) return undefined;
  return {
    kind: "port",
    text: `UDP port ${port} is in use by another process or WireGuard device: choose another with --port-${slot}`,
  };
}

function calico({ links }: HostFacts): Conflict[] {
  if (!links.some((link) => link.name === "wireguard.cali" || link.name === "wg-v6.cali")) return [];
  const text =
    "Calico's WireGuard is on (device wireguard.cali): switch one of the two off, traffic would be encrypted twice";
  return [{ kind: "calico", text }];
}

function tables(settings: Settings, host: HostFacts): Conflict[] {
  const foreign = host.routes.find((route) => route.protocol !== settings.routeProtocol);
  if (foreign === undefined) return [];
  const flag = foreign.table === settings.hostTable ? "--host-table" : "--pod-table";
  const text = `routing table ${foreign.table} is in use (${renderRoute(foreign)}): choose another with ${flag}`;
  return [{ kind: "table", text }];
}
