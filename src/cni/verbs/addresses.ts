// Gives a standalone pod its addresses: from the embedded IPAM, which writes lease and attachment in
// one transaction, or from another IPAM plugin. If a later step fails, DEL knows which addresses to
// release.
import { allocate, findRangeSet } from "../../ipam/allocate.ts";
import { type RangeSet, rangeSetsOfPodCIDRs } from "../../ipam/range.ts";
import { messageOf } from "../../net/error.ts";
import { familyOf } from "../../net/ip.ts";
import { isInUse } from "../../netlink/address-use.ts";
import { configuredMtu } from "../../plan/pods/mtu.ts";
import type { Attachment, Owner } from "../../state/model.ts";
import type { Store } from "../../state/store.ts";
import { delegateAdd, runDelegate } from "../delegate.ts";
import { CniError } from "../error.ts";
import { type Host, ownerOf } from "../host.ts";
import type { EmbeddedIpam } from "../ipam.ts";
import type { Request } from "../request.ts";

export interface Addresses {
  /** At least one address; canonical, without length. */
  readonly ips: readonly string[];
  readonly routes: readonly { readonly dst: string }[];
}

/** Reserves the pod's addresses and records the attachment. Throws CniError, StoreError. */
export function takeAddresses(host: Host, request: Request, hostDev: string): Addresses {
  const { ipam } = request.conf;
  if (ipam?.kind === "delegate") return takeDelegated(host, request, hostDev);
  return takeEmbedded(host, request, hostDev, ipam as EmbeddedIpam);
}

/** Releases a delegated plugin's addresses; those of the embedded IPAM end with the attachment. Throws CniError. */
export function releaseAddresses(request: Request): void {
  if (request.conf.ipam?.kind === "delegate") runDelegate("DEL", request);
}

/** Releases the addresses after a failure. A further failure is only a warning, because the first one is to be reported. */
export function undoAddresses(request: Request): void {
  try {
    releaseAddresses(request);
  } catch (error) {
    request.warn(`while undoing: ${messageOf(error)}`);
  }
}

function takeDelegated(host: Host, request: Request, hostDev: string): Addresses {
  const result = delegateAdd(request);
  const ips = result.ips.map(({ address }) => address.slice(0, address.indexOf("/")));
  try {
    if (ips.length === 0)
      throw new CniError("delegate", `The IPAM plugin gave no address for ${request.ifname}`);
    host.store.putAttachment(describe(request, hostDev, ips));
  } catch (error) {
    undoAddresses(request);
    throw error;
  }
  return { ips, routes: result.routes };
}

function takeEmbedded(host: Host, request: Request, hostDev: string, ipam: EmbeddedIpam): Addresses {
  const ips = reserveAddresses(host.store, {
    owner: ownerOf(request),
    sets: ipam.ranges.length > 0 ? ipam.ranges : nodeRangeSets(host, request),
    requested: request.conf.requested.ips,
    isInUse: (ip) => isInUse(host.kernel.host, ip),
    describe: (taken) => describe(request, hostDev, taken),
  });
  return { ips, routes: ipam.routes };
}

/** The addresses that a pod needs, and what is written with them. */
export interface Reservation {
  readonly owner: Owner;
  readonly sets: readonly RangeSet[];
  readonly requested: readonly string[];
  /** Asks the kernel. The store may have lost a lease with its log or to a damaged disk, and the pod lives on. */
  readonly isInUse: (ip: string) => boolean;
  readonly describe: (ips: readonly string[]) => Attachment;
}

/** Leases one address of each set, and records the attachment. Throws CniError, StoreError. */
export function reserveAddresses(store: Store, reservation: Reservation): readonly string[] {
  const { owner, sets, requested, isInUse, describe } = reservation;
  return store.transaction(() => {
    // An ADD that was killed has left its leases, so the same container gets the same addresses. Its link is
    // gone by now (`refuseExisting`): whatever still uses one of them is another pod.
    const left = store.leasesOf(owner).map((lease) => lease.ip);
    const kept = left.some(isInUse) ? [] : left;
    if (kept.length < left.length) store.releaseLeases(owner);
    const taken = kept.length > 0 ? kept : sets.map((_, i) => takeOne(store, reservation, i));
    refuseUnmet(requested, taken);
    store.putAttachment(describe(taken));
    return taken;
  });
}

function takeOne(store: Store, { owner, sets, requested, isInUse }: Reservation, index: number): string {
  const set = sets[index] as RangeSet;
  const last = store.lastLease(owner.network, index);
  const wanted = requested.find((ip) => setFor(sets, ip) === index);
  const outcome = allocate(set, {
    isTaken: (ip) => store.isLeased(owner.network, ip) || isInUse(ip),
    ...(last === undefined ? {} : { last }),
    ...(wanted === undefined ? {} : { requested: wanted }),
  });
  if (!outcome.ok) {
    const kind = outcome.reason === "exhausted" ? "exhausted" : "invalidConfig";
    throw new CniError(
      kind,
      `Cannot give ${owner.ifname} of container ${owner.containerID} an address: ${outcome.message}`,
    );
  }
  store.putLease({ owner, ip: outcome.ip, rangeSet: index });
  return outcome.ip;
}

/** Returns the set that has an address. If none has it, the first set of the family explains why not. */
function setFor(sets: readonly RangeSet[], ip: string): number {
  return findRangeSet(sets, ip) ?? sets.findIndex((set) => set[0]?.family === familyOf(ip));
}

/** Fails the ADD if a requested address was not given, as host-local does. */
function refuseUnmet(requested: readonly string[], taken: readonly string[]): void {
  const unmet = requested.filter((ip) => !taken.includes(ip));
  if (unmet.length === 0) return;
  throw new CniError(
    "invalidConfig",
    `Cannot give the requested address ${unmet.join(", ")}: no range of the configuration has it, or the container has others already`,
  );
}

/** Makes one set for each family from the node's pod CIDRs. */
function nodeRangeSets({ intent }: Host, { conf }: Request): readonly RangeSet[] {
  const sets = rangeSetsOfPodCIDRs(intent.identity?.podCIDRs ?? []);
  if (sets.length > 0) return sets;
  const msg = `Network "${conf.name}" has "ipam" without "ranges", and the node has no pod CIDRs: add ranges, or run \`wg-cni up --pod-cidr CIDR\``;
  throw new CniError("invalidConfig", msg);
}

function describe(request: Request, hostDev: string, ips: readonly string[]): Attachment {
  const { ipam } = request.conf;
  return {
    ...ownerOf(request),
    netns: request.netns,
    role: "standalone",
    hostDev,
    ips,
    restore: configuredMtu(request.conf.mtu),
    ...(ipam?.kind === "delegate" ? { ipam: ipam.type } : {}),
    createdAtMs: Date.now(),
  };
}
