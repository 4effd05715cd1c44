// From two meshes to the steps that turn the observed one into the desired one,
// ordered so that at no moment a packet has a route without a peer, or a peer
// loses an allowed IP it keeps:
//
//   make    links, addresses, sysctls, keys, peers and their allowed IPs
//   switch  routes, then rules
//   unmake  rules, routes, allowed IPs, peers, addresses, links
//
// Equal meshes give no steps. Pure: time is an argument.
import type { PeerConfig } from "../net/device.ts";
import { zeroKey } from "../net/key.ts";
import type { Address, Route, Rule } from "../net/objects.ts";
import type { Slot } from "../net/record.ts";
import { type Mesh, type MeshDevice, type MeshLink, type MeshPeer, validMarkSysctl } from "./mesh.ts";
import { type DeviceStep, renderRule, type Step } from "./step.ts";

export interface DiffOptions {
  /** Which slot's private key a device has. */
  readonly slotOf: ReadonlyMap<string, Slot>;
  readonly nowMs: number;
  /**
   * Peers may have roamed since the kernel was last programmed: where nothing
   * else was asked for since, an endpoint with a fresh handshake is kept.
   */
  readonly keepRoamedEndpoints: boolean;
}

/** WireGuard gives up on a session this long after its handshake (REJECT_AFTER_TIME, whitepaper 6.1). */
export const handshakeFreshMs = 180_000;

/**
 * Allowed IPs that a peer is to lose are moved to this key, which is then
 * removed: moving is atomic, replacing a peer's whole list drops packets for
 * the ones it keeps, and the flag to remove one exists only from Linux 6.16.
 * It is nobody's key: 32 bytes of 0x01 are never sent a handshake to.
 */
export const sinkKey = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/** The steps from `observed` to `desired`. */
export function diffMesh(desired: Mesh, observed: Mesh, options: DiffOptions): Step[] {
  const devices = [...desired.devices].map(([dev, device]) =>
    diffDevice(dev, device, observed.devices.get(dev), options),
  );
  const addresses = diffAddresses(desired.addresses, observed.addresses);
  const routes = diffRoutes(desired.routes, observed.routes, addresses.renewed);
  const rules = diffRules(desired.rules, observed.rules);
  return [
    ...diffLinks(desired, observed, devices),
    ...addresses.make,
    ...diffSysctls(desired, observed),
    ...routes.make,
    ...rules.make,
    ...rules.unmake,
    ...routes.unmake,
    ...devices.flatMap((device) => device.unmake),
    ...addresses.unmake,
    ...[...observed.links.keys()]
      .filter((dev) => !desired.links.has(dev))
      .map((dev): Step => ({ do: "deleteLink", dev })),
  ];
}

interface Halves {
  readonly make: Step[];
  readonly unmake: Step[];
}

/**
 * Links with what belongs between their creation and their use. A kernel device
 * with many peers is configured before it comes up, which is three times
 * faster; a userspace one must be up first, or the first handshake is lost and
 * costs five seconds.
 */
function diffLinks(desired: Mesh, observed: Mesh, devices: readonly Halves[]): Step[] {
  const steps: Step[] = [];
  [...desired.links].forEach(([dev, link], i) => {
    const seen = observed.links.get(dev);
    if (seen === undefined)
      steps.push(
        link.kind === "wireguard"
          ? { do: "addLink", link: { name: dev, kind: "wireguard", mtu: link.mtu } }
          : { do: "startUserspace", dev },
      );
    const configure = devices[i]?.make ?? [];
    const bringUp = changeLink(dev, link, seen);
    steps.push(...(link.kind === "wireguard" ? [...configure, ...bringUp] : [...bringUp, ...configure]));
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

function diffDevice(
  dev: string,
  desired: MeshDevice,
  seen: MeshDevice | undefined,
  options: DiffOptions,
): Halves {
  const observed = seen ?? { listenPort: 0, fwmark: 0, peers: new Map<string, MeshPeer>() };
  const own = {
    ...(desired.listenPort === observed.listenPort ? {} : { listenPort: desired.listenPort }),
    ...(desired.fwmark === observed.fwmark ? {} : { fwmark: desired.fwmark }),
  };
  const slot = desired.publicKey === observed.publicKey ? undefined : options.slotOf.get(dev);
  const changed = [...desired.peers].flatMap(([key, peer]) =>
    diffPeer(key, peer, observed.peers.get(key), options),
  );
  const make: DeviceStep = {
    do: "configureDevice",
    dev,
    ...(slot === undefined ? {} : { privateKeyOf: slot }),
    config: { ...own, ...(changed.length === 0 ? {} : { peers: changed }) },
  };
  const removed = [...removedAllowedIPs(desired, observed), ...removedPeers(desired, observed)];
  return {
    make: slot === undefined && Object.keys(make.config).length === 0 ? [] : [make],
    unmake: removed.length === 0 ? [] : [{ do: "configureDevice", dev, config: { peers: removed } }],
  };
}

function diffPeer(
  publicKey: string,
  desired: MeshPeer,
  seen: MeshPeer | undefined,
  options: DiffOptions,
): PeerConfig[] {
  const held = new Set(seen?.allowedIPs);
  const added = desired.allowedIPs.filter((prefix) => !held.has(prefix));
  const change = {
    ...(endpointStands(desired, seen, options) || desired.endpoint === undefined
      ? {}
      : { endpoint: desired.endpoint }),
    ...(desired.keepaliveSeconds === (seen?.keepaliveSeconds ?? 0)
      ? {}
      : { keepaliveSeconds: desired.keepaliveSeconds }),
    ...(desired.hasPresharedKey || !seen?.hasPresharedKey ? {} : { presharedKey: zeroKey }),
    ...(added.length === 0 ? {} : { allowedIPs: added }),
  };
  return seen !== undefined && Object.keys(change).length === 0 ? [] : [{ publicKey, ...change }];
}

/** True where the endpoint that is there needs no change. */
function endpointStands(desired: MeshPeer, seen: MeshPeer | undefined, options: DiffOptions): boolean {
  if (seen?.endpoint === undefined) return false;
  if (seen.endpoint.ip === desired.endpoint?.ip && seen.endpoint.port === desired.endpoint.port) return true;
  return options.keepRoamedEndpoints && options.nowMs - seen.lastHandshakeMs < handshakeFreshMs;
}

/** Allowed IPs that leave a peer which stays, and that no other peer takes over. */
function removedAllowedIPs(desired: MeshDevice, observed: MeshDevice): PeerConfig[] {
  const wanted = new Set([...desired.peers.values()].flatMap((peer) => peer.allowedIPs));
  const leaving = [...observed.peers].flatMap(([key, peer]) =>
    desired.peers.has(key) ? peer.allowedIPs.filter((prefix) => !wanted.has(prefix)) : [],
  );
  if (leaving.length === 0) return [];
  return [
    { publicKey: sinkKey, allowedIPs: leaving },
    { publicKey: sinkKey, remove: true },
  ];
}

function removedPeers(desired: MeshDevice, observed: MeshDevice): PeerConfig[] {
  return [...observed.peers.keys()]
    .filter((publicKey) => !desired.peers.has(publicKey))
    .map((publicKey) => ({ publicKey, remove: true }));
}

/** `renewed`: addresses ("dev ip") that are taken away for a moment, and out of IPv6 routes that name them as source. */
function diffRoutes(
  desired: readonly Route[],
  observed: readonly Route[],
  renewed: ReadonlySet<string>,
): Halves {
  const wanted = new Map(desired.map((route) => [routeKey(route), route]));
  const seen = new Map<string, Route>();
  const doubled = new Set<string>();
  const surplus: Step[] = [];
  for (const route of observed) {
    const key = routeKey(route);
    if (seen.has(key)) {
      doubled.add(key);
      surplus.push({ do: "deleteRoute", route });
    } else seen.set(key, route);
  }
  const make: Step[] = [];
  for (const [key, route] of wanted) {
    const there = seen.get(key);
    // A deletion may hit either of two routes with one key: which is left is exchanged for ours.
    const stands = there !== undefined && sameRoute(route, there) && !doubled.has(key);
    if (!stands || renewed.has(`${route.dev} ${route.src}`)) make.push({ do: "replaceRoute", route });
  }
  const unmake = [...seen]
    .filter(([key]) => !wanted.has(key))
    .map(([, route]): Step => ({ do: "deleteRoute", route }));
  return { make: [...surplus, ...make], unmake };
}

/** What the kernel tells routes of a table apart by: NLM_F_REPLACE exchanges the route of the same key. */
function routeKey(route: Route): string {
  return `${route.table} ${route.dst} ${route.tos ?? 0} ${route.priority ?? 0}`;
}

function sameRoute(a: Route, b: Route): boolean {
  return (
    a.type === b.type &&
    a.dev === b.dev &&
    a.src === b.src &&
    a.via === b.via &&
    a.scope === b.scope &&
    a.protocol === b.protocol &&
    a.metrics?.mtu === b.metrics?.mtu &&
    a.metrics?.advmss === b.metrics?.advmss
  );
}

/**
 * The kernel keeps a rule as often as it was added, and deletes the first that
 * has at least what the request names, which may be ours where a stranger's has
 * the same priority. So such a priority is cleared and ours made anew.
 */
function diffRules(desired: readonly Rule[], observed: readonly Rule[]): Halves {
  const text = (rule: Rule) => `${rule.family} ${renderRule(rule)}`;
  const place = (rule: Rule) => `${rule.family} ${rule.priority}`;
  const wanted = new Set(desired.map(text));
  const taken = new Set(desired.map(place));
  const seen = new Set<string>();
  const spoiled = new Set<string>();
  for (const rule of observed) {
    if (!wanted.has(text(rule)) || seen.has(text(rule))) spoiled.add(place(rule));
    seen.add(text(rule));
  }
  const removed = observed.filter((rule) => spoiled.has(place(rule)));
  const deletion = (rule: Rule): Step => ({ do: "deleteRule", rule });
  // The target of the goto first: a goto without its target is skipped, harmless but not ours.
  const missing = desired
    .filter((rule) => spoiled.has(place(rule)) || !seen.has(text(rule)))
    .sort((a, b) => b.priority - a.priority);
  return {
    make: [
      ...removed.filter((rule) => taken.has(place(rule))).map(deletion),
      ...missing.map((rule): Step => ({ do: "addRule", rule })),
    ],
    unmake: removed.filter((rule) => !taken.has(place(rule))).map(deletion),
  };
}

/** An address that is there in another shape is in the way of ours: IPv6 has an address once on a device. */
function diffAddresses(
  desired: readonly Address[],
  observed: readonly Address[],
): Halves & { readonly renewed: ReadonlySet<string> } {
  const place = ({ dev, ip }: Address) => `${dev} ${ip}`;
  const wanted = new Map(desired.map((address) => [place(address), address]));
  const standing = new Set<string>();
  const altered: Address[] = [];
  const strange: Address[] = [];
  for (const address of observed) {
    const want = wanted.get(place(address));
    if (want === undefined) strange.push(address);
    else if (sameAddress(want, address)) standing.add(place(address));
    else altered.push(address);
  }
  const deletion = (address: Address): Step => ({ do: "deleteAddress", address });
  const missing = desired.filter((address) => !standing.has(place(address)));
  return {
    make: [...altered.map(deletion), ...missing.map((address): Step => ({ do: "addAddress", address }))],
    unmake: strange.map(deletion),
    renewed: new Set(altered.map(place)),
  };
}

function sameAddress(a: Address, b: Address): boolean {
  return a.length === b.length && a.scope === b.scope && a.noPrefixRoute === b.noPrefixRoute;
}

function diffSysctls(desired: Mesh, observed: Mesh): Step[] {
  return [...desired.sysctls]
    .filter(([path, value]) => observed.sysctls.get(path) !== value)
    .map(([path, value]): Step => {
      const saved = path === validMarkSysctl ? { saved: true as const } : {};
      return { do: "writeSysctl", path, value, ...saved };
    });
}
