// Computes the time at which this node's keys are due. Only the wall clock survives a reboot, and it may
// be wrong and be set: then a rotation comes early or late by at most one period, and never again and
// again. Pure.

/** The part of the period by which nodes differ in both directions, so that they do not all rotate at once. */
const jitter = 0.1;

/**
 * Returns the Unix milliseconds at which the older key is due; `wallMs` itself if the key's time is in the
 * future by more than a period, because the clock was wrong then.
 */
export function chooseRotationTime(
  name: string,
  keys: readonly { readonly createdAtMs: number }[],
  periodSeconds: number,
  wallMs: number,
): number {
  const periodMs = periodSeconds * 1000;
  const madeAtMs = Math.min(...keys.map(({ createdAtMs }) => createdAtMs));
  if (madeAtMs - wallMs > periodMs) return wallMs;
  return madeAtMs + Math.round(periodMs * (1 + jitter * (2 * fractionOf(`${madeAtMs} ${name}`) - 1)));
}

/** Hashes a text to a number from 0 to 1 (FNV-1a with a final mix). */
function fractionOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 12)) >>> 0) / 2 ** 32;
}
