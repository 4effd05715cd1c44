// Runs the stages of a reconcile pass in the order of a table. A column of the table says how much a
// failure ends, so that no stage has to catch anything itself.
import { StoreError } from "../state/error.ts";

export interface Stage<Context> {
  readonly name: string;
  /** The stage is skipped if this is false when its turn comes. */
  readonly when: (context: Context) => boolean;
  readonly run: (context: Context) => void;
  /**
   * If the store refuses the stage (locked, disk full), only this `stage` ends, or the whole `pass`.
   * Every other error ends the pass.
   */
  readonly storeErrorEnds: "stage" | "pass";
  /** True if large values are no longer needed after the stage, so that memory can be freed. */
  readonly freesMemory?: true;
}

/** The runner calls these during a pass. */
export interface StageListener {
  /** The store refused the stage, and the pass goes on. */
  readonly onRefusal: (stage: string, error: StoreError) => void;
  /** The turn of a stage that frees memory is over, also if the stage was skipped or refused. */
  readonly onFree: () => void;
}

/** Runs every stage in turn. Throws what ends the pass. */
export function runStages<Context>(
  stages: readonly Stage<Context>[],
  context: Context,
  { onRefusal, onFree }: StageListener,
): void {
  for (const { name, when, run, storeErrorEnds, freesMemory } of stages) {
    try {
      if (when(context)) run(context);
    } catch (error) {
      if (!(error instanceof StoreError) || storeErrorEnds === "pass") throw error;
      onRefusal(name, error);
    }
    if (freesMemory === true) onFree();
  }
}
