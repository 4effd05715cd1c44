// Decides how soon one reconcile pass follows another. Pure.

/** At most four passes a second run, however much happens; a repair is still done within a second. */
const spacingMs = 250;
/**
 * The agent rests twice as long as a pass took: records, pods' links and clients can trigger any
 * number of passes, and a pass over thousands of peers takes a while.
 */
const restFactor = 2;
/** A repair does not wait longer than this, however long a pass takes. */
const longestSpacingMs = 2000;

/** Returns the time from the start of a pass to the earliest start of the next; `costMs`: its processor time. */
export function spacingAfter(costMs: number): number {
  return Math.max(spacingMs, Math.min((1 + restFactor) * costMs, longestSpacingMs));
}
