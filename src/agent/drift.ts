// Detects whether another process has changed what the poll of the devices reads: keys, ports, marks,
// peers with their allowed IPs, links, and a few sysctls. The kernel sends no event for most of these.
// The expected peers are kept as a checksum, not as thousands of objects. Endpoints are left out,
// because WireGuard itself changes them.
import type { Device } from "../net/device.ts";
import type { Link } from "../net/objects.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { readSysctl } from "../reconcile/apply.ts";
import { readFamilyState } from "../reconcile/capabilities.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";

/** The links and devices that the poll has read. */
export interface Polled {
  readonly links: readonly Link[];
  readonly devices: ReadonlyMap<string, Device>;
}

interface Expected {
  readonly settings: Settings;
  readonly devices: string;
  /** The sysctls that were set, by path. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** The plan relied on these: the reverse path filters of the uplinks, and the address families of the host. */
  readonly host: string;
  readonly uplinks: readonly string[];
}

export class DriftDetector {
  #expected: Expected | undefined;

  /** Remembers what a sync has programmed; one that failed is tried again anyway. */
  learn({ settings, desired, mtu, up, failures }: SyncReport): void {
    const uplinks = ["all", ...mtu.uplinks.map(({ dev }) => dev)];
    const isWhole = up && failures.length === 0;
    this.#expected = isWhole
      ? {
          settings,
          devices: [...desired.devices]
            .map(([name, { peers, ...device }]) =>
              describe(name, desired.links.get(name), device, peers.size, sumDesired(peers)),
            )
            .sort()
            .join("\n"),
          sysctls: desired.sysctls,
          host: describeHost(settings, uplinks),
          uplinks,
        }
      : undefined;
  }

  /** True if the devices differ from what the last sync has programmed. Before the first sync, nothing is expected. */
  detects({ links, devices }: Polled): boolean {
    if (this.#expected === undefined) return false;
    const { settings, sysctls, host, uplinks } = this.#expected;
    const found = [...devices.values()].map((device) =>
      describe(
        device.name,
        links.find(({ name }) => name === device.name),
        device,
        device.peers.length,
        sumFound(device),
      ),
    );
    return (
      found.sort().join("\n") !== this.#expected.devices ||
      [...sysctls].some(([path, value]) => readSysctl(path) !== value) ||
      describeHost(settings, uplinks) !== host
    );
  }
}

function describe(
  name: string,
  link: Pick<Link, "mtu" | "up"> | undefined,
  { publicKey, listenPort, fwmark }: Pick<Device, "publicKey" | "listenPort" | "fwmark">,
  peers: number,
  sum: number,
): string {
  return [name, link?.mtu, link?.up, publicKey, listenPort, fwmark, peers, sum].join(" ");
}

function describeHost(settings: Settings, uplinks: readonly string[]): string {
  const filters = uplinks.map((dev) => readSysctl(`net/ipv4/conf/${dev}/rp_filter`));
  return [readFamilyState(settings), ...filters].join(" ");
}

type Summed = Pick<Device["peers"][number], "keepaliveSeconds" | "hasPresharedKey" | "allowedIPs">;

function sumDesired(peers: ReadonlyMap<string, Summed>): number {
  let sum = 0;
  for (const [publicKey, peer] of peers) sum = (sum + hash(publicKey, peer)) >>> 0;
  return sum;
}

function sumFound({ peers }: Device): number {
  let sum = 0;
  for (const peer of peers) sum = (sum + hash(peer.publicKey, peer)) >>> 0;
  return sum;
}

/** The checksum does not depend on the order of peers and allowed IPs. */
function hash(publicKey: string, { keepaliveSeconds, hasPresharedKey, allowedIPs }: Summed): number {
  const { xxHash32 } = Bun.hash;
  const own = xxHash32(publicKey, hasPresharedKey ? keepaliveSeconds + 65_536 : keepaliveSeconds);
  let sum = own;
  for (const prefix of allowedIPs) sum = (sum + xxHash32(prefix, own)) >>> 0;
  return sum;
}
