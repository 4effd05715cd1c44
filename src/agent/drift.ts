// Whether somebody else has changed what the poll of the devices reads: keys, ports, marks,
// peers with their allowed IPs, links, and the few sysctls beside them. The kernel tells
// nobody of most of these. What should be there is kept as a number, not as thousands of
// peers. Endpoints are left out: they move by themselves.
import type { Device } from "../net/device.ts";
import type { Link } from "../net/objects.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { readSysctl } from "../reconcile/apply.ts";
import { readFamilyState } from "../reconcile/capabilities.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";

/** The links and devices as the poll has read them. */
export interface Polled {
  readonly links: readonly Link[];
  readonly devices: ReadonlyMap<string, Device>;
}

interface Expected {
  readonly settings: Settings;
  readonly devices: string;
  /** By path, of what was set. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** Of what the plan went by: whether an interface is strict, or has IPv6. */
  readonly host: string;
  readonly uplinks: readonly string[];
}

export class Drift {
  #expected: Expected | undefined;

  /** Takes over what a sync has made; one that failed is tried again anyway. */
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

  /** True if what is there is not what the last sync has made. Before one, nothing is known. */
  isSeen({ links, devices }: Polled): boolean {
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

/** The same in whatever order peers and allowed IPs come. */
function hash(publicKey: string, { keepaliveSeconds, hasPresharedKey, allowedIPs }: Summed): number {
  const { xxHash32 } = Bun.hash;
  const own = xxHash32(publicKey, hasPresharedKey ? keepaliveSeconds + 65_536 : keepaliveSeconds);
  let sum = own;
  for (const prefix of allowedIPs) sum = (sum + xxHash32(prefix, own)) >>> 0;
  return sum;
}
