// A Step is one change to the kernel, as data: what `plan` prints, what apply
// carries out, what tests compare. Steps never hold key material: a private key
// is named by its slot and fetched by the applier.
import type { DeviceConfig, PeerConfig } from "../net/device.ts";
import type { NftCommand, NftTable, NftTableName } from "../net/nftables.ts";
import { formatNftCommand, formatNftTableName } from "../net/nftables-text.ts";
import type { Address, LinkAdd, LinkChange, Neighbour, Route, Rule } from "../net/objects.ts";
import type { Slot } from "../net/record.ts";

/** The place of a step: the node's own network namespace unless it says "pod". */
interface InNetns {
  readonly netns?: "pod";
}

export type LinkStep =
  | { readonly do: "addLink"; readonly link: LinkAdd }
  | { readonly do: "changeLink"; readonly dev: string; readonly change: LinkChange }
  | { readonly do: "deleteLink"; readonly dev: string };

export type AddressStep = { readonly do: "addAddress" | "deleteAddress"; readonly address: Address };
export type RouteStep = { readonly do: "addRoute" | "replaceRoute" | "deleteRoute"; readonly route: Route };
export type RuleStep = { readonly do: "addRule" | "deleteRule"; readonly rule: Rule };
export type NeighbourStep = { readonly do: "replaceNeighbour"; readonly neighbour: Neighbour };

/** Steps that are one rtnetlink request each. */
export type RtnlStep = (LinkStep | AddressStep | RouteStep | RuleStep | NeighbourStep) & InNetns;

/** Changes the mtu metric of a foreign route, and nothing else of it; without `mtu` the route loses the metric. */
export interface RouteMtuStep extends InNetns {
  readonly do: "changeRouteMtu";
  readonly route: Route;
  readonly mtu?: number;
}

export interface DeviceStep {
  readonly do: "configureDevice";
  readonly dev: string;
  /** Sets the private key of this slot. */
  readonly privateKeyOf?: Slot;
  readonly config: Omit<DeviceConfig, "privateKey">;
}

/** Starts a userspace WireGuard, which makes the device `dev` as a TUN link. */
export interface StartStep {
  readonly do: "startUserspace";
  readonly dev: string;
}

export interface SysctlStep {
  readonly do: "writeSysctl";
  /** Path below /proc/sys: device names may have dots. */
  readonly path: string;
  readonly value: string;
  /** A setting of the whole node: its old value is kept, and `down` puts it back. */
  readonly saved?: true;
  /** Puts a kept value back, if the present one is ours. */
  readonly back?: true;
}

/** NAPI threading of a device of the kernel's WireGuard. */
export interface ThreadingStep {
  readonly do: "setThreading";
  readonly dev: string;
  readonly on: boolean;
}

/**
 * Makes `table` of one of our nftables tables by `commands`, in one transaction. They hold for the
 * table as it was observed (`base`, absent if there was none): if it is another by then, nothing is done.
 */
export interface FirewallStep {
  readonly do: "applyFirewall";
  readonly table: NftTable;
  readonly base?: NftTable;
  readonly commands: readonly NftCommand[];
}

export interface DeleteFirewallStep {
  readonly do: "deleteFirewall";
  readonly table: NftTableName;
}

/** Nothing is changed for a while: packets that are on their way arrive. */
export interface WaitStep {
  readonly do: "wait";
  readonly ms: number;
}

export type Step =
  | RtnlStep
  | RouteMtuStep
  | DeviceStep
  | StartStep
  | SysctlStep
  | ThreadingStep
  | FirewallStep
  | DeleteFirewallStep
  | WaitStep;

/** Steps in two phases: `setup` runs before traffic moves, `teardown` after it has moved. */
export interface PhasedSteps {
  readonly setup: Step[];
  readonly teardown: Step[];
}

/** The shell commands that do the same as a step, one a line; keys only as public keys. */
export function renderStep(step: Step): string[] {
  switch (step.do) {
    case "startUserspace":
      return [`wireguard-go ${step.dev}`];
    case "writeSysctl":
      return [`echo ${step.value} > /proc/sys/${step.path}`];
    case "setThreading":
      return [`echo ${step.on ? 1 : 0} > /sys/class/net/${step.dev}/threaded`];
    case "configureDevice":
      return renderDevice(step);
    case "applyFirewall":
      return step.commands.map((command) => `nft '${formatNftCommand(command)}'`);
    case "deleteFirewall":
      return [`nft 'delete table ${formatNftTableName(step.table)}'`];
    case "wait":
      return [`sleep ${step.ms / 1000}`];
    case "changeRouteMtu":
      return [`ip ${whereFlag(step)}${renderRouteMtu(step)}`];
    default:
      return [`ip ${whereFlag(step)}${renderRtnl(step)}`, ...renderIpv4Settings(step)];
  }
}

/** ip(8) has no words for these. */
function renderIpv4Settings(step: RtnlStep): string[] {
  if (step.do !== "addLink" || step.link.kind !== "veth" || step.link.ipv4 === undefined) return [];
  const { rpFilter, acceptRedirects, sendRedirects, proxyArp } = step.link.ipv4;
  const values = {
    rp_filter: rpFilter,
    accept_redirects: acceptRedirects,
    send_redirects: sendRedirects,
    proxy_arp: proxyArp,
  };
  const directory = `/proc/sys/net/ipv4/conf/${step.link.name}`;
  return Object.entries(values).map(([name, value]) => `echo ${value} > ${directory}/${name}`);
}

function whereFlag({ netns }: InNetns): string {
  return netns === "pod" ? "-n POD " : "";
}

function renderRouteMtu({ route, mtu }: RouteMtuStep): string {
  const { mtu: _, ...others } = route.metrics ?? {};
  const metrics = mtu === undefined ? others : { ...others, mtu };
  return `${familyFlag(route)}route change ${renderRoute({ ...route, metrics })}`;
}

function renderRtnl(step: RtnlStep): string {
  switch (step.do) {
    case "addLink":
      return renderAddLink(step.link);
    case "changeLink":
      return `link set ${step.dev}${renderLinkChange(step.change)}`;
    case "deleteLink":
      return `link delete ${step.dev}`;
    case "addAddress":
    case "deleteAddress":
      return `address ${step.do === "addAddress" ? "add" : "delete"} ${renderAddress(step.address)}`;
    case "addRoute":
    case "replaceRoute":
    case "deleteRoute":
      return `${familyFlag(step.route)}route ${step.do.slice(0, -"Route".length)} ${renderRoute(step.route)}`;
    case "addRule":
    case "deleteRule":
      return `${familyFlag(step.rule)}rule ${step.do === "addRule" ? "add" : "delete"} ${renderRule(step.rule)}`;
    case "replaceNeighbour": {
      const { ip, mac, dev, permanent } = step.neighbour;
      return `neighbour replace ${ip} lladdr ${mac} dev ${dev} nud ${permanent ? "permanent" : "reachable"}`;
    }
  }
}

function familyFlag({ family }: { readonly family: number }): string {
  return family === 6 ? "-6 " : "";
}

function renderAddLink(link: LinkAdd): string {
  const mtu = link.mtu === undefined ? "" : ` mtu ${link.mtu}`;
  if (link.kind === "wireguard") return `link add ${link.name}${mtu} type wireguard`;
  const { peer } = link;
  const peerOptions = `${peer.mac === undefined ? "" : ` address ${peer.mac}`}${peer.mtu === undefined ? "" : ` mtu ${peer.mtu}`}`;
  const mac = link.mac === undefined ? "" : ` address ${link.mac}`;
  const group = link.group === undefined ? "" : ` group ${link.group}`;
  return `link add ${link.name}${mac}${mtu}${group} type veth peer name ${peer.name}${peerOptions}${peer.netnsFd === undefined ? "" : " netns POD"}`;
}

function renderLinkChange({ up, mtu, mac, addrGenModeNone, group }: LinkChange): string {
  let words = "";
  if (mtu !== undefined) words += ` mtu ${mtu}`;
  if (mac !== undefined) words += ` address ${mac}`;
  if (addrGenModeNone) words += " addrgenmode none";
  if (group !== undefined) words += ` group ${group}`;
  if (up !== undefined) words += up ? " up" : " down";
  return words;
}

function renderAddress({ ip, length, dev, scope, noPrefixRoute, noDad }: Address): string {
  const flags = `${noDad && ip.includes(":") ? " nodad" : ""}${noPrefixRoute ? " noprefixroute" : ""}`;
  return `${ip}/${length} dev ${dev}${scope === "global" ? "" : ` scope ${scope}`}${flags}`;
}

/** A route in the words of `ip route`. */
export function renderRoute(route: Route): string {
  const words = [route.type === "unicast" ? "" : `${route.type} `, route.dst];
  if (route.tos !== undefined) words.push(` tos 0x${route.tos.toString(16)}`);
  if (route.via !== undefined) words.push(` via ${route.via}`);
  if (route.dev !== undefined) words.push(` dev ${route.dev}`);
  if (route.src !== undefined) words.push(` src ${route.src}`);
  if (route.table !== 254) words.push(` table ${route.table}`);
  words.push(` proto ${route.protocol}`);
  if (route.scope !== "global") words.push(` scope ${route.scope}`);
  if (route.priority !== undefined) words.push(` metric ${route.priority}`);
  if (route.metrics?.mtu !== undefined) words.push(` mtu ${route.metrics.mtu}`);
  if (route.metrics?.advmss !== undefined) words.push(` advmss ${route.metrics.advmss}`);
  if (route.onlink) words.push(" onlink");
  return words.join("");
}

/** A rule in the words of `ip rule`. */
export function renderRule(rule: Rule): string {
  const words = [`priority ${rule.priority}`];
  if (rule.invert) words.push("not");
  if (rule.src !== undefined) words.push(`from ${rule.src}`);
  if (rule.dst !== undefined) words.push(`to ${rule.dst}`);
  if (rule.fwmark !== undefined)
    words.push(`fwmark 0x${rule.fwmark.mark.toString(16)}/0x${rule.fwmark.mask.toString(16)}`);
  if (rule.iif !== undefined) words.push(`iif ${rule.iif}`);
  if (rule.oif !== undefined) words.push(`oif ${rule.oif}`);
  words.push(
    rule.action === "lookup"
      ? `lookup ${rule.table}`
      : rule.action === "goto"
        ? `goto ${rule.target}`
        : rule.action,
  );
  if (rule.hasOtherSelectors) words.push("…");
  words.push(`protocol ${rule.protocol}`);
  return words.join(" ");
}

function renderDevice({ dev, privateKeyOf, config }: DeviceStep): string[] {
  const own: string[] = [];
  if (privateKeyOf !== undefined) own.push(`private-key <(key of slot ${privateKeyOf})`);
  if (config.listenPort !== undefined) own.push(`listen-port ${config.listenPort}`);
  if (config.fwmark !== undefined) own.push(`fwmark 0x${config.fwmark.toString(16)}`);
  const lines = own.length === 0 ? [] : [`wg set ${dev} ${own.join(" ")}`];
  for (const peer of config.peers ?? []) lines.push(`wg set ${dev} ${renderPeer(peer)}`);
  return lines;
}

function renderPeer(peer: PeerConfig): string {
  if (peer.remove) return `peer ${peer.publicKey} remove`;
  const words = [`peer ${peer.publicKey}`];
  if (peer.endpoint !== undefined) {
    const { ip, port } = peer.endpoint;
    words.push(`endpoint ${ip.includes(":") ? `[${ip}]` : ip}:${port}`);
  }
  // The only one that is ever set removes a key; an empty file does that (wg(8)).
  if (peer.presharedKey !== undefined) words.push("preshared-key /dev/null");
  if (peer.keepaliveSeconds !== undefined)
    words.push(`persistent-keepalive ${peer.keepaliveSeconds || "off"}`);
  if (peer.allowedIPs !== undefined) {
    const sign = peer.replaceAllowedIPs ? "" : "+";
    words.push(`allowed-ips ${peer.allowedIPs.map((prefix) => sign + prefix).join(",") || '""'}`);
  }
  return words.join(" ");
}
