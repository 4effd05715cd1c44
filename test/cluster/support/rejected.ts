// A request that must be refused, and with which words.

import { waitUntil } from "../../lab/wait.ts";
import { KubeRefusal } from "./kube-client.ts";

/** Throws if it was accepted, or refused with other words than one of these: of several policies that refuse, the server names any. */
export async function refused(
  request: Promise<unknown>,
  says: string | readonly string[] = "",
): Promise<KubeRefusal> {
  const answer = await request.catch((error: unknown) => error);
  if (answer instanceof KubeRefusal && [says].flat().some((words) => answer.message.includes(words)))
    return answer;
  if (answer instanceof KubeRefusal) throw new Error(`not for "${says}", but: ${answer.message}`);
  if (answer instanceof Error) throw answer;
  throw new Error(`accepted: ${JSON.stringify(answer)}`);
}

/** Until it is no longer refused with these words: what policies know of other objects comes a moment later. Returns its answer. */
export function unrefused<T>(request: () => Promise<T>, says: string): Promise<T> {
  const look = () =>
    request().catch((error: unknown) => {
      if (error instanceof KubeRefusal && error.message.includes(says)) return undefined;
      throw error;
    });
  return waitUntil(look, { what: `no refusal with "${says}"`, timeoutMs: 60_000 }) as Promise<T>;
}

/**
 * Waits until a request is refused with these words, because policies learn of other
 * objects a moment later. The request must be a dry run: if it wrote, those that come
 * before the refusal would change what the policies judge by.
 */
export function unaccepted(
  request: () => Promise<unknown>,
  says: string | readonly string[],
): Promise<KubeRefusal> {
  const look = () => refused(request(), says).catch(() => undefined);
  return waitUntil(look, { what: `a refusal with "${says}"`, timeoutMs: 60_000 }) as Promise<KubeRefusal>;
}

/** The ValidatingAdmissionPolicy that refused a request; "" if something else did. If several refuse, the server names any one. */
export function deniedBy({ message }: KubeRefusal): string {
  return /ValidatingAdmissionPolicy '([^']+)'/.exec(message)?.[1] ?? "";
}

/** Waits until a policy of `by` refuses a request, which must be a dry run, as for unaccepted(). */
export function denied(request: () => Promise<unknown>, by: readonly string[]): Promise<KubeRefusal> {
  const look = async () => {
    const answer = await refused(request()).catch(() => undefined);
    return answer !== undefined && by.includes(deniedBy(answer)) ? answer : undefined;
  };
  return waitUntil(look, {
    what: `a refusal by ${by.join(" or ")}`,
    timeoutMs: 60_000,
  }) as Promise<KubeRefusal>;
}
