// Everything that a sync needs, put together: store, kernel with both WireGuard
// backends, the node's keys. Loaded only if a mesh is programmed: it brings
// the cryptography along.
import { readBootId } from "../linux/boot.ts";
import { isLocked } from "../linux/lock.ts";
import type { Device } from "../net/device.ts";
import type { Slot } from "../net/record.ts";
import { isNftUnsupported } from "../netlink/nft/presence.ts";
import { Nft } from "../netlink/nft/table.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import { DesiredMeshCache } from "../plan/mesh/desired-cache.ts";
import type { DeviceLoad } from "../plan/peers/stall.ts";
import type { PeerEvidence } from "../plan/report/peer-status.ts";
import type { PlaintextJudge } from "../plan/report/plaintext-evidence.ts";
import type { PeerReach } from "../plan/report/reach.ts";
import { addLosses, type RefusedPackets } from "../plan/report/refused-sources.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { publicKeyOf } from "../state/keys.ts";
import { openPrivateKey, readSealKey, SealError } from "../state/seal.ts";
import { Store } from "../state/store.ts";
import { openKernelWireGuard } from "../wireguard/kernel.ts";
import { openUserspaceWireGuard } from "../wireguard/uapi.ts";
import { type Backends, Kernel } from "./kernel.ts";
import type { MeshPlan, MeshState, SyncOptions, SyncReport } from "./mesh-plan.ts";
import { RouteLookupCache } from "./mtu.ts";
import { NodeReader, readSettings } from "./node-reader.ts";
import { type DeviceReading, meshLinks, readDevices } from "./observe.ts";
import {
  type Arrivals,
  describePlaintext,
  type PlaintextReading,
  readPlaintext,
  readRefused,
} from "./plaintext.ts";
import { type PodLinkReport, syncPodLinks } from "./pod-links.ts";
import { type PodReport, type PodTurn, syncPods } from "./pods.ts";
import { observeReach } from "./reach.ts";
import { type KeyRecovery, recoverKeys } from "./recover-keys.ts";
import { failuresOf } from "./slots.ts";
import { planMesh, syncMesh } from "./sync.ts";
import { hasKernelWireGuard, startDevice } from "./userspace.ts";

const backends: Backends = {
  open: (linkKind) =>
    linkKind === "wireguard" ? getKernelWireGuard() : openUserspaceWireGuard({ publicKeyOf }),
  hasKernel: hasKernelWireGuard,
  openFirewall,
};

export interface SyncHow
  extends Pick<
    SyncOptions,
    | "relieve"
    | "reexamine"
    | "reading"
    | "retriesSlots"
    | "keepPlaintext"
    | "replacedEndpoints"
    | "programmed"
  > {
  /** True if keys that are lost with the seal key may be replaced: the caller publishes the new ones. */
  readonly mayReplaceKeys?: boolean;
}

/** The facts about peers that the kernel shows, and packets that came in plaintext by interface. */
export interface Evidence extends PeerEvidence {
  readonly arrivals: Arrivals;
  readonly refused: RefusedPackets;
  /** Unix milliseconds since which plaintext is counted without a gap; absent if nothing counts it. */
  readonly countedSinceMs?: number;
}

/** One run's view of one node. */
export class Session implements Disposable {
  readonly bootId = readBootId();
  readonly store: Store;
  readonly nodes: NodeReader;
  readonly kernel: Kernel;
  /** Known for as long as the session lasts, or until they are forgotten. */
  readonly peerRoutes = new RouteLookupCache();
  /** Routes to the addresses that other nodes send from, which are more than those that they receive at. */
  readonly arrivalRoutes = new RouteLookupCache();
  readonly desiredMeshes = new DesiredMeshCache();
  #hasVerified = false;
  /** The reason why a new seal key could not be made, though it was needed. */
  #sealProblem: SealError | undefined;

  /** `now`: Unix milliseconds. */
  constructor(
    stateDir: string,
    private readonly now: () => number,
  ) {
    // The executable starts with a compiler that hardly ever compiles (scripts/build.ts). That is right for
    // the milliseconds of an ADD; work on thousands of peers takes twice as long without.
    Bun.unsafe.setJITPolicy(1);
    this.store = Store.open(stateDir, this.bootId);
    this.kernel = new Kernel(backends);
    this.nodes = new NodeReader(this.store, (settings) => this.peerRoutes.landmarks(settings, this.kernel));
  }

  /** True if the store has this node up, whatever the kernel has. */
  get isUp(): boolean {
    return this.store.identity()?.up === true;
  }

  /** Slots that could not be made are left out: whether they can be now shows when a sync tries. */
  plan(): MeshPlan {
    return planMesh(this, this.#options(), failuresOf(this.nodes));
  }

  /** The mesh's WireGuard devices that there are, with their counters, by name. */
  readDevices(settings: Settings): Map<string, Device> {
    return this.readMesh(settings).devices;
  }

  /** The same, with the links. */
  readMesh(settings: Settings): DeviceReading & { readonly devices: Map<string, Device> } {
    const links = meshLinks(settings, this.kernel);
    const { writes } = this.kernel;
    return { links, devices: readDevices(links, this.kernel), writes };
  }

  /** The counters of a userspace device; undefined for the kernel's, which count as sent whatever they hand on. */
  readLoad(device: Device | undefined): DeviceLoad | undefined {
    if (device?.backend !== "userspace") return undefined;
    const packets = this.kernel.host.packetsInto(device.name);
    if (packets === undefined) return undefined;
    return { packets, sentBytes: device.peers.reduce((sum, { txBytes }) => sum + txBytes, 0) };
  }

  /** Reads what the kernel shows of the peers: devices, where packets go, what went in plaintext. */
  readEvidence(state: MeshState, hasFirewall: boolean): Evidence {
    const devices = this.readDevices(state.settings);
    const { evidence, news, byInterface, strayPackets, refused } = this.#readPlaintext(state);
    const { table, sinceMs } = evidence.counting ?? {};
    const reach = addLosses(this.readReach(state, hasFirewall, devices), refused);
    // Only an agent reads the counters every few seconds: without one it is not known when they grew.
    const isWatched = isLocked(`${this.store.directory}/agent.lock`);
    const plaintext = describePlaintext(state.ownership.peers, evidence, isWatched ? [] : news);
    return {
      ...{ devices, reach, plaintext, refused, arrivals: { byInterface, strayPackets } },
      ...(table === undefined || sinceMs === undefined ? {} : { countedSinceMs: sinceMs }),
    };
  }

  /** Asks where packets for each peer go. `hasFirewall`: strict mode's table drops plaintext. */
  readReach(
    state: MeshState,
    hasFirewall: boolean,
    devices: ReadonlyMap<string, Device> = this.readDevices(state.settings),
  ): Map<string, PeerReach> {
    const podIPs = this.store.attachments().flatMap(({ ips }) => ips);
    return observeReach(state, podIPs, devices, this.kernel, hasFirewall);
  }

  /**
   * Adds what the kernel has counted to what the store knows, before the counters can be lost. Writes
   * nothing if nothing was counted. Packets are judged by the intent if no `judge` is given.
   */
  keepPlaintext(state: MeshState, judge?: PlaintextJudge): PlaintextReading {
    const folded = this.#readPlaintext(state, judge);
    if (folded.hasChanged) this.store.putPlaintext(folded.evidence);
    return folded;
  }

  /** Reads the packets of the last minute that peers do not take out of the tunnel. Throws NetlinkError, SysError. */
  readRefused(state: MeshState): RefusedPackets {
    return readRefused(state, this.kernel);
  }

  #readPlaintext(state: MeshState, judge?: PlaintextJudge): PlaintextReading {
    const { store, kernel, bootId } = this;
    return readPlaintext(state, { store, kernel, bootId, nowMs: this.now() }, judge);
  }

  /** `how`: as in SyncOptions. */
  sync({ mayReplaceKeys = false, ...how }: SyncHow = {}): SyncReport {
    return syncMesh(this, {
      keepPlaintext: (plan) => this.keepPlaintext(plan),
      ...{ ...this.#options(), ...how },
      recoverKeys: () => this.#recoverKeys(mayReplaceKeys),
    });
  }

  /** Gives live pods the MTU of the devices, after a sync of a node that is up. */
  syncPods(mtu: number, turn?: PodTurn): PodReport {
    return syncPods(this.store, this.kernel, mtu, turn);
  }

  /** Syncs the links of pods that we are the main plugin of, whether the node is up or not. */
  syncPodLinks(): PodLinkReport {
    return syncPodLinks(this.store, this.kernel, this.now());
  }

  [Symbol.dispose](): void {
    this.kernel[Symbol.dispose]();
    this.store[Symbol.dispose]();
  }

  /** Recovers the keys. A failure is reported when a key is needed. */
  #recoverKeys(mayReplace: boolean): KeyRecovery | undefined {
    try {
      const verify = !this.#hasVerified;
      this.#sealProblem = undefined;
      const recovery = recoverKeys(this.store, this.kernel, { nowMs: this.now(), mayReplace, verify });
      this.#hasVerified = true;
      return recovery;
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      this.#sealProblem = error;
      return undefined;
    }
  }

  #options(): SyncOptions {
    const { store, bootId } = this;
    return {
      bootId,
      nowMs: this.now(),
      // Opened only when a device lacks its key.
      privateKey: (slot) => {
        if (this.#sealProblem !== undefined) throw this.#sealProblem;
        return privateKeyOf(store, slot);
      },
      saveSysctl: (path, before) => store.saveSysctl(path, before),
      forgetSysctl: (path) => store.forgetSysctl(path),
      startUserspace: startDevice,
    };
  }
}

function privateKeyOf(store: Store, slot: Slot): string {
  const identity = store.identity();
  const own = identity?.slots.find((candidate) => candidate.slot === slot);
  if (identity === undefined || own === undefined) throw new Error(`the node has no key for slot ${slot}`);
  const sealKey = readSealKey(readSettings(store).sealKeyFile);
  return openPrivateKey(sealKey, { node: identity.name, slot }, own.sealedPrivateKey);
}

function getKernelWireGuard() {
  const kernel = openKernelWireGuard();
  if (kernel !== undefined) return kernel;
  throw new Error(
    "The kernel has no WireGuard: load its module (modprobe wireguard), or set --backend userspace.",
  );
}

function openFirewall(): Nft | undefined {
  let nft: Nft | undefined;
  try {
    nft = Nft.open();
    nft.find({ family: "inet", name: firewallName });
    return nft;
  } catch (error) {
    nft?.[Symbol.dispose]();
    if (isNftUnsupported(error)) return undefined;
    throw error;
  }
}
