// Waits until the peers can read a pod's address, if the address belongs to the network and to no
// CIDR of the node: until then peers send to it outside the tunnel, or in strict mode not at all. A
// pod whose address cannot be published starts all the same, with a warning: the agent publishes the
// address later.
import { isLocked } from "../linux/lock.ts";
import { hostPrefix, prefixContains } from "../net/prefix.ts";
import { type Host, ownerOf } from "./host.ts";
import type { Request } from "./request.ts";

const pauseMs = 10;

/** True if an ADD has to wait. Throws StoreError. */
export function isPublicationAwaited({ settings }: Host): boolean {
  return settings.podAddresses === "pods" && settings.publishWait > 0;
}

/** Waits after the attachment was made. Throws StoreError. */
export async function awaitPublication(host: Host, request: Request): Promise<void> {
  const { publishWait } = host.settings;
  const ips = host.store.findAttachment(ownerOf(request))?.ips ?? [];
  const deadline = Bun.nanoseconds() + publishWait * 1e9;
  while (!areAnnounced(host, ips)) {
    const obstacle = findObstacle(host, publishWait, deadline);
    if (obstacle !== undefined) {
      request.warn(
        `the other nodes cannot read the address ${ips.join(", ")} yet, and do not encrypt to it: ${obstacle}`,
      );
      return;
    }
    await Bun.sleep(pauseMs);
  }
}

function findObstacle({ stateDir }: Host, seconds: number, deadline: number): string | undefined {
  if (!isLocked(`${stateDir}/agent.lock`)) return "no agent runs, which would announce it";
  if (Bun.nanoseconds() < deadline) return undefined;
  return `the agent has not announced it within ${seconds} s (see its log)`;
}

function areAnnounced({ store }: Host, ips: readonly string[]): boolean {
  const prefixes = ips.map(hostPrefix);
  const announced = prefixes.length === 0 ? [] : store.announced();
  return prefixes.every((prefix) => announced.some((outer) => prefixContains(outer, prefix)));
}
