// A kernel small enough to trust: it carries out steps on a Mesh by the rules
// of the real one that matter here (an allowed IP belongs to one peer of a
// device; replacing a route exchanges the one with the same key; deleting what
// is missing is nothing). Tests compare diffs against it; the real kernel is
// asked in test/kernel.
import type { PeerConfig } from "../../src/net/device.ts";
import { formatNftTable, formatNftTableName } from "../../src/net/nftables-text.ts";
import type { Route } from "../../src/net/objects.ts";
import type { Slot } from "../../src/net/record.ts";
import type { Mesh, MeshDevice, MeshLink, MeshPeer } from "../../src/plan/mesh/model.ts";
import { renderRoute, renderRule, type Step } from "../../src/plan/step.ts";

interface MutableDevice extends Omit<MeshDevice, "peers"> {
  publicKey?: string;
  listenPort: number;
  fwmark: number;
  peers: Map<string, MeshPeer>;
}

/** The mesh after the steps. `publicKeys` are those of this node's slots. */
export function applyToModel(mesh: Mesh, steps: readonly Step[], publicKeys: Record<Slot, string>): Mesh {
  const links = new Map<string, MeshLink>(mesh.links);
  const devices = new Map<string, MutableDevice>();
  for (const [dev, device] of mesh.devices) devices.set(dev, { ...device, peers: new Map(device.peers) });
  const addresses = new Map(mesh.addresses.map((a) => [`${a.dev} ${a.ip}`, a]));
  const routes = new Map(mesh.routes.map((route) => [routeKey(route), route]));
  const rules = mesh.rules.map((rule) => rule);
  const sysctls = new Map(mesh.sysctls);
  const firewall = new Map(mesh.firewall.map((table) => [formatNftTableName(table), table]));
  const makeLink = (dev: string, kind: string, mtu: number) => {
    if (links.has(dev)) throw new Error(`${dev} is there`);
    links.set(dev, { kind, mtu, up: false, ...(kind === "wireguard" ? { threaded: false } : {}) });
    devices.set(dev, { listenPort: 0, fwmark: 0, peers: new Map() });
  };
  for (const step of steps) {
    switch (step.do) {
      case "addLink":
        makeLink(step.link.name, step.link.kind, step.link.mtu ?? 1420);
        break;
      case "startUserspace":
        makeLink(step.dev, "tun", 1420);
        break;
      case "changeLink":
        links.set(step.dev, { ...(links.get(step.dev) as MeshLink), ...step.change });
        break;
      case "deleteLink":
        links.delete(step.dev);
        devices.delete(step.dev);
        for (const [key, a] of addresses) if (a.dev === step.dev) addresses.delete(key);
        for (const [key, route] of routes) if (route.dev === step.dev) routes.delete(key);
        break;
      case "addAddress":
        addresses.set(`${step.address.dev} ${step.address.ip}`, step.address);
        break;
      case "deleteAddress":
        addresses.delete(`${step.address.dev} ${step.address.ip}`);
        break;
      case "replaceRoute": {
        const { dev } = step.route;
        if (dev !== undefined && links.get(dev)?.up !== true)
          throw new Error(`route over ${dev}, which is not up`);
        routes.set(routeKey(step.route), step.route);
        break;
      }
      case "deleteRoute":
        routes.delete(routeKey(step.route));
        break;
      case "addRule":
        rules.push(step.rule);
        break;
      case "deleteRule":
        rules.splice(
          rules.findIndex(
            (rule) => renderRule(rule) === renderRule(step.rule) && rule.family === step.rule.family,
          ),
          1,
        );
        break;
      case "writeSysctl":
        sysctls.set(step.path, step.value);
        break;
      case "configureDevice": {
        const device = devices.get(step.dev);
        if (device === undefined) throw new Error(`no device ${step.dev}`);
        if (step.privateKeyOf !== undefined) device.publicKey = publicKeys[step.privateKeyOf];
        device.listenPort = step.config.listenPort ?? device.listenPort;
        device.fwmark = step.config.fwmark ?? device.fwmark;
        for (const peer of step.config.peers ?? []) configurePeer(device, peer);
        break;
      }
      case "setThreading": {
        const link = links.get(step.dev);
        if (link?.kind !== "wireguard" || (devices.get(step.dev)?.peers.size ?? 0) === 0)
          throw new Error(`${step.dev} cannot have NAPI threads`);
        links.set(step.dev, { ...link, threaded: step.on });
        break;
      }
      case "applyFirewall":
        firewall.set(formatNftTableName(step.table), step.table);
        break;
      case "deleteFirewall":
        firewall.delete(formatNftTableName(step.table));
        break;
      case "wait":
        break;
      default:
        throw new Error(`the model does not know ${step.do}`);
    }
  }
  return {
    ...{ links, devices, addresses: [...addresses.values()], routes: [...routes.values()], rules, sysctls },
    firewall: [...firewall.values()],
  };
}

function configurePeer(device: MutableDevice, config: PeerConfig): void {
  if (config.remove) {
    device.peers.delete(config.publicKey);
    return;
  }
  const before = device.peers.get(config.publicKey) ?? {
    keepaliveSeconds: 0,
    hasPresharedKey: false,
    allowedIPs: [],
    lastHandshakeMs: 0,
  };
  const taken = new Set(config.allowedIPs);
  for (const [key, peer] of device.peers)
    device.peers.set(key, { ...peer, allowedIPs: peer.allowedIPs.filter((prefix) => !taken.has(prefix)) });
  const kept = config.replaceAllowedIPs ? [] : before.allowedIPs;
  device.peers.set(config.publicKey, {
    ...before,
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    keepaliveSeconds: config.keepaliveSeconds ?? before.keepaliveSeconds,
    hasPresharedKey: config.presharedKey === undefined ? before.hasPresharedKey : false,
    allowedIPs: [...new Set([...kept, ...taken])],
  });
}

function routeKey(route: Route): string {
  return `${route.table} ${route.dst} ${route.priority ?? 0}`;
}

function printThreading({ threaded }: MeshLink): string {
  return threaded === undefined ? "" : ` threaded ${threaded}`;
}

/** The mesh as sorted lines, one a fact: what two meshes differ in is what these differ in. */
export function printMesh(mesh: Mesh): string[] {
  const lines: string[] = [];
  for (const [dev, link] of mesh.links)
    lines.push(`link ${dev} ${link.kind} mtu ${link.mtu} ${link.up ? "up" : "down"}${printThreading(link)}`);
  for (const [dev, device] of mesh.devices) {
    lines.push(`device ${dev} key ${device.publicKey} port ${device.listenPort} fwmark ${device.fwmark}`);
    for (const [key, peer] of device.peers) {
      const endpoint = `${peer.endpoint?.ip} ${peer.endpoint?.port}`;
      lines.push(
        `peer ${dev} ${key} ${endpoint} keepalive ${peer.keepaliveSeconds} psk ${peer.hasPresharedKey}`,
      );
      for (const prefix of peer.allowedIPs) lines.push(`allowed ${dev} ${key} ${prefix}`);
    }
  }
  for (const a of mesh.addresses) lines.push(`address ${a.dev} ${a.ip}/${a.length}`);
  for (const route of mesh.routes) lines.push(`route ${renderRoute(route)}`);
  for (const rule of mesh.rules) lines.push(`rule ${rule.family} ${renderRule(rule)}`);
  for (const [path, value] of mesh.sysctls) lines.push(`sysctl ${path} ${value}`);
  for (const table of mesh.firewall) {
    const sets = table.sets.map((set) => ({ ...set, elements: new Set([...set.elements].sort()) }));
    lines.push(...formatNftTable({ ...table, sets }).split("\n"));
  }
  return lines.sort();
}
