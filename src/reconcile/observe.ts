// Reads the mesh from the kernel, in the shape that plan/ compares. Only what
// is ours: our two devices, our two tables, the rules that are ours or point at
// our tables. Writes nothing.

import type { Device } from "../net/device.ts";
import type { Family } from "../net/ip.ts";
import type { NftFamily, NftTable } from "../net/nftables.ts";
import type { Address, Link, Route, Rule } from "../net/objects.ts";
import { deviceForwarding } from "../plan/host/host-changes.ts";
import { type HostFacts, isForeign, type SlotFacts } from "../plan/mesh/conflicts.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import type { Mesh, MeshDevice, MeshLink, MeshPeer } from "../plan/mesh/model.ts";
import { slots } from "../plan/peers/path.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import type { Step } from "../plan/step.ts";
import { readSysctl } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import { readThreading } from "./napi.ts";
import { readUdpPorts } from "./ports.ts";

const families: readonly Family[] = [4, 6];
const nftFamilies: readonly NftFamily[] = ["inet", "arp"];

/** All rules of the host, of both families. */
export function observeRules({ host }: Kernel): Rule[] {
  return families.flatMap((family) => host.rules(family));
}

/** Our links and devices, as they were read together. */
export interface DeviceReading {
  readonly links: readonly Link[];
  /** The devices by name, with their counters. */
  readonly devices: ReadonlyMap<string, Device>;
  /** The number of changes that this process had made until then. */
  readonly writes: number;
}

/**
 * The mesh as the kernel has it now; `rules` are all of the host. `reading`: the devices, if they were just
 * read. It stands in for another one unless this process has changed something since.
 */
export function observeMesh(
  settings: Settings,
  kernel: Kernel,
  rules = observeRules(kernel),
  reading?: DeviceReading,
): Mesh {
  const links = meshLinks(settings, kernel);
  const isCurrent = reading?.writes === kernel.writes && isSameLinks(links, reading.links);
  return {
    links: new Map(links.map((link) => [link.name, toMeshLink(link)])),
    devices: toMeshDevices(isCurrent ? reading.devices : readDevices(links, kernel)),
    addresses: links.flatMap(({ name }) =>
      kernel.host.addresses(name).filter((address) => !isKernelMade(address)),
    ),
    routes: observeRoutes(settings, kernel),
    rules: rules.filter((rule) => isOurs(settings, rule)),
    sysctls: observeSysctls(links),
    firewall: observeFirewall(kernel),
  };
}

function observeFirewall({ firewall }: Kernel): NftTable[] {
  return nftFamilies.flatMap((family) => firewall?.find({ family, name: firewallName }) ?? []);
}

/** Tables that need no step have the desired content. The next pass finds them by that, and compares nothing. */
export function identifyTables(
  { firewall }: Kernel,
  { desired, observed, steps }: Record<"desired" | "observed", Mesh> & { readonly steps: readonly Step[] },
): void {
  if (steps.some(({ do: kind }) => kind === "applyFirewall")) return;
  for (const found of observed.firewall) {
    const wanted = desired.firewall.find(({ family }) => family === found.family);
    if (wanted !== undefined) firewall?.identify(found, wanted);
  }
}

/** True if the kernel tracks connections, or has loaded what does: nothing is translated without. */
export function hasConntrack(): boolean {
  return readSysctl("net/netfilter/nf_conntrack_max") !== undefined;
}

/** Our devices that exist. */
export function meshLinks(settings: Settings, kernel: Kernel): Link[] {
  return slots.flatMap((slot) => kernel.host.findLink(slotDevice(settings, slot)) ?? []);
}

/** Observes the facts that `up` needs before it uses names, ports and tables of the host. */
export function observeHost(
  settings: Settings,
  kernel: Kernel,
  known: Pick<SlotFacts, "ownKeys" | "isApplied">,
): HostFacts {
  const links = meshLinks(settings, kernel);
  return {
    links: kernel.host.links(),
    rules: observeRules(kernel),
    routes: observeRoutes(settings, kernel),
    slots: {
      ...known,
      links: new Map(links.map((link) => [link.name, link])),
      devices: toMeshDevices(readDevices(links, kernel)),
      isPortTaken: makePortReader(),
    },
  };
}

/** Reads the ports once, when the first is asked for. */
export function makePortReader(): (port: number) => boolean {
  let ports: ReadonlyMap<number, unknown> | undefined;
  return (port) => {
    ports ??= readUdpPorts();
    return ports.has(port);
  };
}

/** Leaves out foreign links that have a device's name, and everything on them. */
export function withoutForeign(mesh: Mesh, facts: SlotFacts): Mesh {
  const foreign = [...mesh.links.keys()].filter((name) => isForeign(name, facts));
  if (foreign.length === 0) return mesh;
  const isOwn = ([name]: readonly [string, unknown]) => !foreign.includes(name);
  return {
    ...mesh,
    links: new Map([...mesh.links].filter(isOwn)),
    devices: new Map([...mesh.devices].filter(isOwn)),
    addresses: mesh.addresses.filter(({ dev }) => !foreign.includes(dev)),
  };
}

/** A TUN device gets an IPv6 link-local address when it comes up. */
function isKernelMade({ ip, scope }: Address): boolean {
  return scope === "link" && ip.includes(":");
}

/** Reads the links that are WireGuard devices, with their counters, by name. */
export function readDevices(links: readonly Link[], kernel: Kernel): Map<string, Device> {
  const devices = new Map<string, Device>();
  for (const [kind, some] of Map.groupBy(links, (link) => link.kind)) {
    if (kind !== "wireguard" && kind !== "tun") continue;
    for (const device of kernel.wireguard(kind).readAll(some.map(({ name }) => name)))
      if (device !== undefined) devices.set(device.name, device);
  }
  return devices;
}

/** A device that was made anew has another index. */
function isSameLinks(links: readonly Link[], others: readonly Link[]): boolean {
  return links.length === others.length && links.every(({ index }, i) => index === others[i]?.index);
}

function toMeshDevices(devices: ReadonlyMap<string, Device>): Map<string, MeshDevice> {
  return new Map([...devices].map(([name, device]) => [name, toMeshDevice(device)]));
}

function toMeshLink(link: Link): MeshLink {
  const threaded = readThreading(link);
  return { kind: link.kind, mtu: link.mtu, up: link.up, ...(threaded === undefined ? {} : { threaded }) };
}

function toMeshDevice({ publicKey, listenPort, fwmark, peers }: Device): MeshDevice {
  return {
    ...(publicKey === undefined ? {} : { publicKey }),
    listenPort,
    fwmark,
    peers: new Map(peers.map((peer) => [peer.publicKey, peer satisfies MeshPeer])),
  };
}

function observeRoutes({ hostTable, podTable }: Settings, kernel: Kernel): Route[] {
  return [hostTable, podTable].flatMap((table) =>
    families.flatMap((family) => kernel.host.routes({ family, table })),
  );
}

function isOurs(settings: Settings, rule: Rule): boolean {
  return (
    rule.protocol === settings.routeProtocol ||
    rule.table === settings.hostTable ||
    rule.table === settings.podTable
  );
}

function observeSysctls(links: readonly Link[]): Map<string, string> {
  return readSysctls(
    links.flatMap(({ name }) => [`net/ipv4/conf/${name}/rp_filter`, deviceForwarding(4, name)]),
  );
}

export function readSysctls(paths: readonly string[]): Map<string, string> {
  return new Map(paths.map((path) => [path, readSysctl(path) ?? ""]));
}
