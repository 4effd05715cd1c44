// Derives this node's identity from its Node object. It is created once with new keys, and follows
// the Node's addresses and pod CIDRs. Values that were given to `up` on such a node hold until the
// next reconcile pass. kube/node-object.ts reads the Node object.
import { explainConflict } from "../../doctor/port-holder.ts";
import { type NodeIdentity, type NodeObject, planIdentity } from "../../kube/node-object.ts";
import { nodeObjectName } from "../../kube/record-entries.ts";
import { countOf } from "../../net/human-format.ts";
import { hostPrefix, prefixContains } from "../../net/prefix.ts";
import { findConflicts } from "../../plan/mesh/conflicts.ts";
import { slots } from "../../plan/peers/path.ts";
import type { Settings } from "../../plan/settings/settings.ts";
import { observeTransport } from "../../reconcile/endpoints.ts";
import { observeHost } from "../../reconcile/observe.ts";
import type { Session } from "../../reconcile/session.ts";
import { NotUpError } from "../../reconcile/sync.ts";
import type { Identity } from "../../state/model.ts";
import { readOrCreateSealKey, SealError } from "../../state/seal.ts";
import { makeSlotKeys } from "../../state/slot-key.ts";
import type { Log } from "../../telemetry/log.ts";
import { ProblemLog } from "../../telemetry/problem-log.ts";
import type { RejectedRecords } from "../rejected-records.ts";
import type { ClusterFacts } from "./source.ts";

/** Bounds the examples in a sentence. */
const maxNamed = 5;

export interface NodeIdentityOptions {
  /** The Node's name. */
  readonly node: string;
  readonly log: Log;
  readonly rejected: RejectedRecords;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
}

export class NodeFollower {
  #warning: string | undefined;
  readonly #problems: ProblemLog;

  constructor(
    private readonly session: Session,
    private readonly options: NodeIdentityOptions,
  ) {
    this.#problems = new ProblemLog(options.log);
  }

  /** Makes the store's identity agree with the Node. Throws NotUpError if no identity can be had; StoreError, NetlinkError. */
  follow({ node, mesh, problem }: ClusterFacts, settings: Settings): void {
    const isNew = this.session.store.identity() === undefined;
    // A node of a strict cluster is strict from its first moment.
    const facts = isNew && mesh === "pending" ? "unknown" : node;
    const warnings = typeof facts === "string" ? [] : this.#follow(facts, settings);
    this.#report(warnings.length === 0 ? undefined : warnings.join(" "));
    if (this.session.store.identity() !== undefined) return;
    const { node: name } = this.options;
    const waiting = `This node waits for the Kubernetes API to tell of Node ${name}.`;
    const absent = `There is no Node ${name} in the cluster: is the name right (--node)?`;
    throw new NotUpError(this.#warning ?? (facts === "absent" ? absent : (problem ?? waiting)));
  }

  /** Returns warnings. */
  #follow(facts: NodeObject, settings: Settings): readonly string[] {
    const { session } = this;
    const { store } = session;
    const before = store.identity();
    const own = before?.name === facts.name ? before : undefined;
    const { identity, warnings } = planIdentity(facts, own?.podCIDRs ?? [], settings.podAddresses);
    if (identity === undefined) return warnings;
    const place = chooseEndpoints(session, identity, settings);
    const said = {
      ...identity,
      endpoints: place.endpoints,
      endpointsFound: place.found,
      nodeIPsFollow: false,
    };
    const problem = own === undefined ? this.#create(said, settings) : this.#update(said);
    return [...warnings, ...place.warnings, ...(problem === undefined ? [] : [problem])];
  }

  #update(said: Omit<Identity, "slots" | "up">): undefined {
    const { store } = this.session;
    const before = store.identity() as Identity;
    const isAsBefore = (identity: Identity) =>
      JSON.stringify({ ...identity, ...said }) === JSON.stringify(identity);
    if (isAsBefore(before)) return;
    // The identity is read again, because another process may have replaced a key meanwhile.
    store.transaction(() => store.putIdentity({ ...(store.identity() as Identity), ...said }));
    this.#logIdentity("this node follows its Node object", said);
    if (JSON.stringify(said.podCIDRs) !== JSON.stringify(before.podCIDRs)) this.#warnOfStrays(said.podCIDRs);
  }

  /** Warns of pods with addresses of the earlier CIDRs: peers drop what these pods send. */
  #warnOfStrays(podCIDRs: readonly string[]): void {
    const ips = this.session.store.attachments().flatMap((attachment) => attachment.ips);
    const strays = ips.filter((ip) => !podCIDRs.some((cidr) => prefixContains(cidr, hostPrefix(ip))));
    if (strays.length === 0) return;
    const few = `${strays.slice(0, maxNamed).join(", ")}${strays.length > maxNamed ? ", …" : ""}`;
    this.options.log.warn(
      `This node has ${countOf(strays.length, "pod IP")} outside its new pod CIDRs (${few}): peers drop packets from there. Restart these pods.`,
    );
  }

  /** Returns the reason if no identity could be created. */
  #create(said: Omit<Identity, "slots" | "up">, settings: Settings): string | undefined {
    const { store } = this.session;
    const before = store.identity();
    const conflicts = before?.up === true ? [] : findHostConflicts(this.session, settings, before);
    if (conflicts.length > 0)
      return `This host already has what we would use, so nothing was changed: ${conflicts.join("; ")}.`;
    try {
      const sealKey = readOrCreateSealKey(settings.sealKeyFile);
      const made = makeSlotKeys(sealKey, said.name, slots, this.options.wallClock());
      store.transaction(() => {
        store.putRotation(undefined);
        store.putIdentity({ ...said, slots: made, up: before?.up ?? true });
      });
    } catch (error) {
      if (error instanceof SealError) return error.message;
      throw error;
    }
    this.#logIdentity("this node has an identity, from its Node object, and new keys", said);
    return undefined;
  }

  #logIdentity(what: string, { name, endpoints, podCIDRs }: Omit<Identity, "slots" | "up">): void {
    this.options.log.info(what, { node: name, endpoints: endpoints.join(","), podCIDRs: podCIDRs.join(",") });
  }

  #report(warning: string | undefined): void {
    const { rejected, node } = this.options;
    this.#warning = warning;
    if (!this.#problems.reportOnChange("Node", warning)) return;
    rejected.put("node", warning === undefined ? [] : [{ file: nodeObjectName(node), reason: warning }]);
  }
}

function findHostConflicts({ kernel }: Session, settings: Settings, before: Identity | undefined): string[] {
  const ownKeys = before?.slots.map(({ publicKey }) => publicKey) ?? [];
  const host = observeHost(settings, kernel, { ownKeys, isApplied: false });
  return findConflicts(settings, host).map((conflict) => explainConflict(settings, conflict));
}

interface ChosenEndpoints {
  readonly endpoints: readonly string[];
  readonly found: boolean;
  readonly warnings: readonly string[];
}

/** The operator may choose another network for the tunnel than the cluster's. */
function chooseEndpoints(
  { kernel }: Session,
  { endpoints }: NodeIdentity,
  settings: Settings,
): ChosenEndpoints {
  if (settings.transportInterface === "" && settings.transportCIDRs.length === 0)
    return { endpoints, found: false, warnings: [] };
  const found = observeTransport(settings, kernel);
  if (!("problem" in found)) return { endpoints: found.endpoints, found: true, warnings: [] };
  return {
    ...{ endpoints, found: false },
    warnings: [`The endpoints are the Node's InternalIPs, and not as was chosen: ${found.problem}.`],
  };
}
