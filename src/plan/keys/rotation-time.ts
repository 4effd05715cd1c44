// When this node's keys are due. The only clock that survives a reboot is the
// wall clock, which may be wrong and be set: then a rotation comes early or late
// by at most one period, and never again and again. Pure.

/** A part of the period by which nodes differ, either way, so that they do not rotate all at once. */
const jitter = 0.1;

/**
 * Unix milliseconds at which the older key is due; `wallMs` itself if it was
 * made later than now by more than a period: by a clock that was wrong.
 */
export function chooseDue(
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

/** FNV-1a, stirred: from 0 to 1, the same for the same text. */
function fractionOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 12)) >>> 0) / 2 ** 32;
}
