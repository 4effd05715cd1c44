// One reconcile pass of the agent: runs the table of stages over the agent's parts, and says what came
// of it and when the next pass must run.
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
import { runStages } from "./stage.ts";
import { stages } from "./stages.ts";
import type { Triggers } from "./triggers.ts";

/** Handshakes cause no event: while a peer waits for one, the devices are read this often, */
const hurryMs = 1000;
/** and otherwise this often. */
const pollMs = 5000;

export interface PassResult {
  /** Why the mesh is not as the store says. */
  readonly problem?: string;
  /** When the next pass must run at the latest. */
  readonly wakeInMs: number;
}

export class ReconcilePass implements Disposable {
  readonly #parts: Parts;
  readonly #memory: Memory = { asks: [], waitingPods: [] };
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

  /** The names of the links to pods which this node announces one by one. */
  get podLinks(): ReadonlySet<string> {
    return this.#parts.records.pods.links;
  }

  /** True if the last pass announced other pods than the one before. */
  get hasNewPods(): boolean {
    return this.#hasNewPods;
  }

  /** Asks the kernel now, for a probe of readiness. Throws NetlinkError, SysError. */
  findPathProblem(): string | undefined {
    const { state } = this.#memory;
    return state === undefined ? undefined : this.#parts.paths.sample(this.session, state);
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
