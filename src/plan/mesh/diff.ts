// Returns the steps that turn the observed mesh into the desired one. Their order ensures that at no
// moment a packet has a route without a peer, or a peer loses an allowed IP that it keeps:
//
//   make    the nftables tables, links, keys, peers and their allowed IPs, addresses,
//           sysctls
//   switch  routes, then rules
//   teardown  rules, routes, the nftables tables, allowed IPs, peers, addresses, links;
//           if a route led to what is removed, packets in flight are waited for
//
// The nftables tables mark packets that arrive outside of tunnels that routes lead into.
// They also refuse packets that a device delivers and no pod here should receive. They change
// before a device delivers anything and before the first such route is there. If they
// only become fewer, they change after the last route is gone: else strict reverse-path
// filtering drops packets.
//
// Equal meshes give no steps. Pure: time is an argument.
import type { NftTable, NftTableName } from "../../net/nftables.ts";
import { diffNftTables } from "../../net/nftables-diff.ts";
import type { Route } from "../../net/objects.ts";
import { isHostSysctl } from "../host/host-changes.ts";
import type { PhasedSteps, Step } from "../step.ts";
import { type DiffOptions, diffDevice, initiateHandshakes } from "./diff-device.ts";
import { diffAddresses, diffRoutes, diffRules } from "./diff-routing.ts";
import type { Mesh, MeshLink } from "./model.ts";

/** Returns the steps from `observed` to `desired`. */
export function diffMesh(desired: Mesh, observed: Mesh, options: DiffOptions): Step[] {
  const devices = [...desired.devices].map(([dev, device]) =>
    diffDevice(dev, device, observed.devices.get(dev), options),
  );
  const addresses = diffAddresses(desired.addresses, observed.addresses);
  const routes = diffRoutes(desired.routes, observed.routes, addresses.renewed);
  const rules = diffRules(desired.rules, observed.rules);
  const firewall = diffFirewall(desired.firewall, observed.firewall, isRetreat(routes));
  const fewer = devices.flatMap((device) => device.teardown);
  const extraneous = [...observed.links.keys()].filter((dev) => !desired.links.has(dev));
  return [
    ...firewall.setup,
    ...diffLinks(desired, observed, devices),
    ...addresses.setup,
    ...diffSysctls(desired, observed),
    ...routes.setup,
    ...rules.setup,
    ...rules.teardown,
    ...routes.teardown,
    ...firewall.teardown,
    ...(fewer.length + extraneous.length === 0 ? [] : drainInFlight(desired, observed)),
    ...fewer,
    ...addresses.teardown,
    ...extraneous.map((dev): Step => ({ do: "deleteLink", dev })),
  ];
}

/**
 * Returns the steps for links, with those between their creation and their use. A kernel device
 * with many peers is configured before it comes up, which is three times
 * faster; a userspace one must be up first, or the first handshake is lost and
 * costs five seconds.
 */
function diffLinks(desired: Mesh, observed: Mesh, devices: readonly PhasedSteps[]): Step[] {
  const steps: Step[] = [];
  [...desired.links].forEach(([dev, link], i) => {
    const seen = observed.links.get(dev);
    if (seen === undefined)
      steps.push(
        link.kind === "wireguard"
          ? { do: "addLink", link: { name: dev, kind: "wireguard", mtu: link.mtu } }
          : { do: "startUserspace", dev },
      );
    const configure = devices[i]?.setup ?? [];
    const bringUp = changeLink(dev, link, seen);
    steps.push(...(link.kind === "wireguard" ? [...configure, ...bringUp] : [...bringUp, ...configure]));
    const device = desired.devices.get(dev);
    if (device !== undefined && (!seen?.up || configure.length > 0))
      steps.push(...initiateHandshakes(dev, device, seen?.up ? observed.devices.get(dev) : undefined));
    steps.push(...changeThreading(dev, link, seen));
  });
  return steps;
}

function changeLink(dev: string, link: MeshLink, seen: MeshLink | undefined): Step[] {
  const made = seen ?? { kind: link.kind, up: false, mtu: link.kind === "wireguard" ? link.mtu : 0 };
  const mtu = made.mtu === link.mtu ? {} : { mtu: link.mtu };
  const up = made.up === link.up ? {} : { up: link.up };
  const change = { ...mtu, ...up };
  return Object.keys(change).length === 0 ? [] : [{ do: "changeLink", dev, change }];
}

/** Sets threading after the peers, because the threads are theirs. A device that is made now has none, or the kernel's default, which the next pass reads. */
function changeThreading(dev: string, link: MeshLink, seen: MeshLink | undefined): Step[] {
  if (link.threaded === undefined || link.threaded === (seen?.threaded ?? false)) return [];
  return [{ do: "setThreading", dev, on: link.threaded }];
}

function diffSysctls(desired: Mesh, observed: Mesh): Step[] {
  return [...desired.sysctls]
    .filter(([path, value]) => observed.sysctls.get(path) !== value)
    .map(([path, value]): Step => {
      const saved = isHostSysctl(path, [...desired.links.keys()]) ? { saved: true as const } : {};
      return { do: "writeSysctl", path, value, ...saved };
    });
}

/** True if the desired routes into the tunnel are fewer, and none is new. */
function isRetreat({ setup, teardown }: PhasedSteps): boolean {
  const leadsIn = (step: Step) => "route" in step && step.route.type === "unicast";
  return teardown.some(leadsIn) && !setup.some(leadsIn);
}

function diffFirewall(
  desired: readonly NftTable[],
  observed: readonly NftTable[],
  retreats: boolean,
): PhasedSteps {
  const steps: PhasedSteps = { setup: [], teardown: [] };
  for (const table of desired) {
    const base = findTable(observed, table);
    const commands = diffNftTables(table, base);
    if (commands.length > 0)
      (retreats ? steps.teardown : steps.setup).push({
        ...{ do: "applyFirewall", table, commands },
        ...(base === undefined ? {} : { base }),
      });
  }
  for (const table of observed) {
    const { family, name } = table;
    if (findTable(desired, table) === undefined)
      steps.teardown.push({ do: "deleteFirewall", table: { family, name } });
  }
  return steps;
}

/** A userspace device reads its queue when the scheduler lets it, and within this on a busy node too. */
const inFlightMs = 200;

/**
 * Waits for packets in flight: a peer or device that is removed takes along packets that a route has led
 * there and that are not encrypted yet, and packets from the peer that are not decrypted yet.
 */
function drainInFlight(desired: Mesh, observed: Mesh): Step[] {
  const place = ({ dev, table, dst }: Route) => `${dev} ${table} ${dst}`;
  const going = new Set<string>();
  for (const [dev, { peers }] of observed.devices) {
    const stays = desired.devices.get(dev)?.peers;
    for (const [key, { allowedIPs }] of peers)
      if (!stays?.has(key)) for (const prefix of allowedIPs) going.add(`${dev} ${prefix}`);
  }
  if (going.size === 0) return [];
  const led = observed.routes.filter(({ dev, dst }) => going.has(`${dev} ${dst}`));
  const stay = new Set(desired.routes.map(place));
  return led.some((route) => !stay.has(place(route))) ? [{ do: "wait", ms: inFlightMs }] : [];
}

function findTable(tables: readonly NftTable[], { family, name }: NftTableName): NftTable | undefined {
  return tables.find((table) => table.family === family && table.name === name);
}
