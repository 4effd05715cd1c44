// A lock that a test's own process holds, as another program on the node would.
import type { Namespaces, Running } from "./namespaces.ts";

/**
 * Starts a process that holds the lock at `path` until it is stopped, and waits until
 * it says so. The lock itself is not asked: the product may hold it at that moment.
 * `wrapper` is the command that flock(1) is run by, for example one that changes the user.
 */
export async function holdLock(
  space: Namespaces,
  path: string,
  wrapper: readonly string[] = [],
): Promise<Running> {
  const held = "the lock is held";
  const inside = ["sh", "-c", `echo ${held} >&2; exec sleep 1000`];
  const holder = space.start([...wrapper, "flock", path, ...inside], { timeoutMs: 0 });
  await holder.saidOnStderr(held);
  return holder;
}
