// How soon one look follows another. Pure.

/** At most four looks a second, however much happens: a repair is still done within one. */
const spacingMs = 250;
/**
 * Twice the time that a look took passes before the next one: records, pods' links and clients can
 * bring about as many as they like, and a look at thousands of peers takes its time.
 */
const restFactor = 2;
/** A repair does not wait longer, whatever a look takes. */
const longestSpacingMs = 2000;

/** From the beginning of a look to the earliest beginning of the next; `costMs`: its processor time. */
export function spacingAfter(costMs: number): number {
  return Math.max(spacingMs, Math.min((1 + restFactor) * costMs, longestSpacingMs));
}
