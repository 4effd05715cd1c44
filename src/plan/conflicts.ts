// What somebody else already holds of what we are about to use: a priority, a
// table, a mark, a port, a device name. Never shared; each finding is a
// sentence with a remedy. Only asked before the first programming: afterwards
// our tables are ours, and what strays into them is removed. Pure.
import type { Link, Route, Rule } from "../net/objects.ts";
import { slots } from "./path.ts";
import { formatMark } from "./setting.ts";
import { type Settings, slotDevice, slotPort } from "./settings.ts";
import { renderRoute, renderRule } from "./step.ts";

export interface HostFacts {
  readonly links: readonly Link[];
  readonly rules: readonly Rule[];
  /** Routes of our two tables. */
  readonly routes: readonly Route[];
  /** UDP ports in use on any address. */
  readonly udpPorts: ReadonlySet<number>;
  /** Names of devices with a key of this node, or none yet: left by what was killed before it finished. */
  readonly ownDevices: ReadonlySet<string>;
}

/** One sentence a conflict; empty where nothing stands in the way. */
export function findConflicts(settings: Settings, host: HostFacts): string[] {
  return [
    ...calico(host),
    ...devices(settings, host),
    ...ports(settings, host),
    ...rules(settings, host),
    ...tables(settings, host),
  ];
}

function calico({ links }: HostFacts): string[] {
  if (!links.some((link) => link.name === "wireguard.cali" || link.name === "wg-v6.cali")) return [];
  return [
    "Calico's WireGuard is on (device wireguard.cali): switch one of the two off, traffic would be encrypted twice",
  ];
}

function devices(settings: Settings, { links, ownDevices }: HostFacts): string[] {
  return slots.flatMap((slot) => {
    const name = slotDevice(settings, slot);
    const link = links.find((candidate) => candidate.name === name);
    if (link === undefined || ownDevices.has(name)) return [];
    const kind = link.kind === "" ? "hardware" : link.kind;
    return [
      `device name ${name} is taken by a ${kind} interface that is not ours: choose another with --device-${slot}`,
    ];
  });
}

function ports(settings: Settings, { udpPorts, ownDevices }: HostFacts): string[] {
  return slots.flatMap((slot) => {
    const port = slotPort(settings, slot);
    // With the device there already, the port is held by the device itself.
    if (ownDevices.has(slotDevice(settings, slot)) || !udpPorts.has(port)) return [];
    return [
      `UDP port ${port} is in use by another process or WireGuard device: choose another with --port-${slot}`,
    ];
  });
}

function rules(settings: Settings, host: HostFacts): string[] {
  const first = settings.rulePriority;
  const foreign = host.rules.filter((rule) => rule.protocol !== settings.routeProtocol);
  return foreign.flatMap((rule) => {
    const text = `rule "${renderRule(rule)}"`;
    if (rule.table === settings.hostTable || rule.table === settings.podTable)
      return [
        `${text} points at our routing table ${rule.table}: choose others with --host-table and --pod-table`,
      ];
    if (rule.priority >= first && rule.priority <= first + 3)
      return [
        `${text} has a priority of ours (${first} to ${first + 3}): choose another with --rule-priority`,
      ];
    if (rule.fwmark !== undefined && (rule.fwmark.mask & settings.fwmark.mask) !== 0)
      return [
        `${text} looks at bits of our mark ${formatMark(settings.fwmark)}: choose another with --fwmark`,
      ];
    return [];
  });
}

function tables(settings: Settings, host: HostFacts): string[] {
  const foreign = host.routes.find((route) => route.protocol !== settings.routeProtocol);
  if (foreign === undefined) return [];
  const flag = foreign.table === settings.hostTable ? "--host-table" : "--pod-table";
  return [`routing table ${foreign.table} is in use (${renderRoute(foreign)}): choose another with ${flag}`];
}
