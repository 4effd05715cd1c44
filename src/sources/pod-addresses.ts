// If pods have addresses of the network instead of addresses of a node's CIDR (AKS, EKS), the node
// announces the addresses of its present pods: those that our plugin attached, and those that the
// kernel shows, which may be older than wg-cni.
import { aggregateIps } from "../kube/aggregate.ts";
import { withoutTaken } from "../plan/peers/taken.ts";
import { announcedIPs, judgePods, type LocalPods, type SeenPod } from "../plan/pods/local-pods.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { observeBridgedPods, observePods } from "../reconcile/local-pods.ts";
import { observeOutside } from "../reconcile/outside.ts";
import type { Session } from "../reconcile/session.ts";
import type { Identity } from "../state/model.ts";
import type { Store } from "../state/store.ts";

export class PodAddresses {
  #observed: readonly SeenPod[] = [];

  constructor(private readonly session: Session) {}

  /** Names of the pods' links at the last update. */
  get links(): ReadonlySet<string> {
    return new Set(this.#observed.map(({ dev }) => dev));
  }

  /** Returns true if it replaced the identity's pod CIDRs. Throws StoreError, NetlinkError, SysError. */
  update(settings: Settings): boolean {
    const { store, kernel } = this.session;
    if (settings.podAddresses !== "pods") return false;
    this.#observed = observePods(settings, kernel);
    if (!this.haveChanged) return false;
    return store.transaction(() => {
      const identity = store.identity();
      if (identity === undefined) return false;
      store.putIdentity({ ...identity, podCIDRs: this.#podCIDRs(identity) });
      return true;
    });
  }

  /**
   * Returns the pods whose addresses are missing in the record. If pod addresses are announced one by one,
   * all pods of the last update are in the record, and newer ones follow at the next update.
   * Throws StoreError, NetlinkError, SysError.
   */
  unknown(settings: Settings): LocalPods["unknown"] {
    if (settings.podAddresses !== "pods") return observeLocalPods(this.session, settings).unknown;
    const { store, kernel } = this.session;
    const attached = new Set(attachedIPs(store));
    const bridged = observeBridgedPods(kernel, otherNodes(this.session)).filter(
      ({ ip }) => !attached.has(ip),
    );
    const podCIDRs = store.identity()?.podCIDRs ?? [];
    return judgePods({
      podCIDRs,
      attached: [],
      seen: [],
      bridged,
      outside: observeOutside(settings, store, kernel),
    }).unknown;
  }

  /** True if the announced addresses differ from those of the present pods. Throws StoreError. */
  get haveChanged(): boolean {
    const { store } = this.session;
    const identity = store.identity();
    if (identity === undefined) return false;
    return JSON.stringify(identity.podCIDRs) !== JSON.stringify(this.#podCIDRs(identity));
  }

  /** Leaves out addresses that a peer claimed first: otherwise a chosen pod address could attract another pod's traffic. */
  #podCIDRs({ podCIDRs }: Pick<Identity, "podCIDRs">): string[] {
    const ips = announcedIPs(attachedIPs(this.session.store), this.#observed);
    const { peers } = this.session.nodes.intent().ownership;
    return aggregateIps(withoutTaken(ips, { own: podCIDRs, peers }));
  }
}

/** Compares all pods of this node with its record. Throws StoreError, NetlinkError, SysError. */
export function observeLocalPods(session: Session, settings: Settings): LocalPods {
  const { store, kernel } = session;
  return judgePods({
    podCIDRs: store.identity()?.podCIDRs ?? [],
    attached: attachedIPs(store),
    seen: observePods(settings, kernel),
    bridged: observeBridgedPods(kernel, otherNodes(session)),
    outside: observeOutside(settings, store, kernel),
  });
}

function otherNodes({ nodes }: Session): string[] {
  return nodes.intent().ownership.peers.flatMap(({ nodeIPs, endpoints }) => [...nodeIPs, ...endpoints]);
}

function attachedIPs(store: Store): string[] {
  return store.attachments().flatMap(({ ips }) => ips);
}
