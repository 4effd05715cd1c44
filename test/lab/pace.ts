// How long things may take: a machine that is emulated, whose processors may be those
// of other tests at the same time, takes 5 to 20 times as long as this one.

const factor = process.env["EMULATED"] === "1" ? 10 : 1;

/** `ms` on a machine like this one, on the one that this is. */
export function atPace(ms: number): number {
  return factor * ms;
}
