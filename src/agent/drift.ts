// Detects whether another process has changed what the poll of the devices reads: keys, ports, marks,
// peers with their allowed IPs, links, threading, and a few sysctls. The kernel sends no event for most of these.
// The expected peers are kept as a checksum, not as thousands of objects. Endpoints are left out,
// because WireGuard itself changes them: plan/peers/replaced-endpoints.ts tells when another process did.
import type { Device } from "../net/device.ts";
import { keepFor } from "../net/keep.ts";
import type { Link } from "../net/objects.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Step } from "../plan/step.ts";
import { readSysctl } from "../reconcile/apply.ts";
import { readFamilyState } from "../reconcile/capabilities.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";
import { readThreading } from "../reconcile/napi.ts";
import type { DeviceReading } from "../reconcile/observe.ts";

interface Expected {
  readonly settings: Settings;
  /** A description by the name of the device. */
  readonly devices: ReadonlyMap<string, string>;
  /** NAPI threading by the name of the device; without those that have none. */
  readonly threading: ReadonlyMap<string, boolean>;
  /** The sysctls that were set, by path. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** The plan relied on these: the reverse path filters of the uplinks, and the address families of the host. */
  readonly host: string;
  readonly uplinks: readonly string[];
}

export class DriftDetector {
  #expected: Expected | undefined;

  /** Remembers what a sync has programmed. The resync tries the rest again. */
  learn({ settings, desired, mtu, up, failures }: SyncReport): void {
    const uplinks = ["all", ...mtu.uplinks.map(({ dev }) => dev)];
    const failed = new Set(failures.map(({ step }) => placeOf(step)));
    const isDone = ([place]: readonly [string, unknown]) => !failed.has(place);
    this.#expected = up
      ? {
          settings,
          devices: new Map(
            [...desired.devices]
              .filter(isDone)
              .map(([name, { peers, ...device }]) => [
                name,
                describe(desired.links.get(name), device, peers.size, sumDesired(peers)),
              ]),
          ),
          threading: new Map(
            [...desired.links].flatMap(([name, { threaded }]) =>
              threaded === undefined || failed.has(threadingOf(name)) ? [] : [[name, threaded]],
            ),
          ),
          sysctls: new Map([...desired.sysctls].filter(isDone)),
          host: describeHost(settings, uplinks),
          uplinks,
        }
      : undefined;
  }

  /** True if the devices differ from what the last sync has programmed. Before the first sync, nothing is expected. */
  detects({ links, devices }: DeviceReading): boolean {
    if (this.#expected === undefined) return false;
    const { settings, devices: expectedDevices, threading, sysctls, host, uplinks } = this.#expected;
    const isAsExpected = ([name, expected]: readonly [string, string]) => {
      const device = devices.get(name);
      const link = links.find((one) => one.name === name);
      if (device === undefined || link === undefined) return false;
      const threaded = threading.get(name);
      if (threaded !== undefined && (readThreading(link) ?? threaded) !== threaded) return false;
      return describe(link, device, device.peers.length, sumFound(device)) === expected;
    };
    return (
      ![...expectedDevices].every(isAsExpected) ||
      [...sysctls].some(([path, value]) => readSysctl(path) !== value) ||
      describeHost(settings, uplinks) !== host
    );
  }
}

/** The device, its threading or the sysctl that a step is about; "" for another object. */
function placeOf(step: Step): string {
  if (step.do === "setThreading") return threadingOf(step.dev);
  return "dev" in step ? step.dev : step.do === "writeSysctl" ? step.path : "";
}

function threadingOf(dev: string): string {
  return `${dev} threading`;
}

function describe(
  link: Pick<Link, "mtu" | "up"> | undefined,
  { publicKey, listenPort, fwmark }: Pick<Device, "publicKey" | "listenPort" | "fwmark">,
  peers: number,
  sum: number,
): string {
  return [link?.mtu, link?.up, publicKey, listenPort, fwmark, peers, sum].join(" ");
}

function describeHost(settings: Settings, uplinks: readonly string[]): string {
  const filters = uplinks.map((dev) => readSysctl(`net/ipv4/conf/${dev}/rp_filter`));
  return [readFamilyState(settings), ...filters].join(" ");
}

type Summed = Pick<Device["peers"][number], "keepaliveSeconds" | "hasPresharedKey" | "allowedIPs">;

/** The same peers are desired in most passes. */
const sumDesired = keepFor((peers: ReadonlyMap<string, Summed>): number => {
  let sum = 0;
  for (const [publicKey, peer] of peers) sum = (sum + hash(publicKey, peer)) >>> 0;
  return sum;
});

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
