// One reconcile pass of the agent: runs the table of stages over the agent's parts, and says what came
// of it and when the next pass must run.
import { describeCutOff } from "../plan/peers/silence.ts";
import type { PortGap } from "../plan/report/port-evidence.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";
import type { Session } from "../reconcile/session.ts";
import type { KubernetesFacts } from "../telemetry/facts.ts";
import {
  beginPass,
  type Memory,
  makeParts,
  type Parts,
  type PassContext,
  type PassOptions,
  problemOf,
} from "./pass-context.ts";
import type { PodRoutes } from "./pod-routes.ts";
import { runStages } from "./stage.ts";
import { stages } from "./stages.ts";
import type { Triggers } from "./triggers.ts";

/** Handshakes cause no event: while a peer waits for one, the devices are read this often, */
const hurryMs = 1000;
/**
 * and otherwise this often. The kernel sends no event about a changed key, port or peer of a device, nor about most sysctls:
 * these are repaired within five seconds, which leaves one for the pass.
 */
export const pollMs = 4000;

export interface PassResult {
  /** Why the mesh is not as the store says. */
  readonly problem?: string;
  /** When the next pass must run at the latest. */
  readonly wakeInMs: number;
}

export class ReconcilePass implements Disposable {
  readonly #parts: Parts;
  readonly #memory: Memory = {
    ...{ asks: [], waitingPods: [] },
    ...{ deviceIndexes: new Set(), refusedCommands: new Set() },
  };
  #hasNewPods = false;

  constructor(
    private readonly session: Session,
    private readonly options: PassOptions,
  ) {
    this.#parts = makeParts(session, options);
  }

  /** The state of the mesh after the last sync. */
  get state(): MeshState | undefined {
    return this.#memory.state;
  }

  /** Undefined if records are not kept in the Kubernetes API. */
  get kubernetes(): KubernetesFacts | undefined {
    return this.#parts.records.kubernetes;
  }

  /** The generation of the store in the last pass. */
  get generation(): number {
    return this.#memory.view?.generation ?? -1;
  }

  /** True if pods have come or gone that peers must learn of. Throws StoreError. */
  get arePodsNew(): boolean {
    return this.#memory.view?.settings.podAddresses === "pods" && this.#parts.records.pods.haveChanged;
  }

  /** True if one of the routes that events were about needs a pass. Throws StoreError. */
  arePodRoutesWrong(routes: PodRoutes): boolean {
    const { state } = this.#memory;
    return state?.up !== true || routes.areWrong(this.session.store.podIPs(), state);
  }

  /** The names of the links to pods which this node announces one by one. */
  get podLinks(): ReadonlySet<string> {
    return this.#parts.records.pods.links;
  }

  /** The indexes of this node's devices, as the last pass has read them. */
  get deviceIndexes(): ReadonlySet<number> {
    return this.#memory.deviceIndexes;
  }

  /** True if the last pass announced other pods than the one before. */
  get hasNewPods(): boolean {
    return this.#hasNewPods;
  }

  /** Ports on which pairs of this node with a peer are not known to work, as of the last pass: the first of them. */
  get portGaps(): readonly PortGap[] {
    return this.#parts.ports.shown;
  }

  /** For a probe of readiness: why packets do not flow as they should. Asks the kernel now. Throws NetlinkError, SysError. */
  findPathProblem(): string | undefined {
    const { state } = this.#memory;
    if (state === undefined) return undefined;
    if (!state.up)
      return "The node is down: its pods' packets are not encrypted. `wg-cni up` brings it back.";
    return (
      this.#parts.paths.sample(this.session, state) ??
      this.#parts.plaintext.describeLosses(this.session.readRefused(state)) ??
      describeCutOff(this.#parts.gate.silence, state.settings)
    );
  }

  [Symbol.dispose](): void {
    const { deadMan, records, installation } = this.#parts;
    for (const part of [deadMan, records, installation]) part[Symbol.dispose]();
  }

  /** Throws what reading the kernel or the store throws, and NotUpError if the node is not up. */
  run(triggers: Triggers): PassResult {
    const { session, options } = this;
    const parts = this.#parts;
    const pass = beginPass({ session, options, parts, memory: this.#memory }, triggers);
    // Frees what a list of thousands of objects has left since the last pass.
    parts.heap.trim();
    try {
      runStages(stages, pass, {
        onRefusal: (_stage, { message }) => pass.refusals.push(message),
        onFree: () => parts.heap.trim(),
      });
    } finally {
      parts.heap.trimWhole();
      this.#hasNewPods = pass.hasNewPods;
    }
    const problem = problemOf(pass);
    return { ...(problem === undefined ? {} : { problem }), wakeInMs: wakeInMs(pass) };
  }
}

function wakeInMs({ decision, memory, wakesInMs }: PassContext): number {
  const isHurry = decision.hurry || memory.waitingPods.length > 0;
  return Math.min(isHurry ? hurryMs : pollMs, ...wakesInMs);
}
