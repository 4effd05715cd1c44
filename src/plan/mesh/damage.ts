// Finds what other processes have changed since this one has programmed the mesh. Pure.
import type { ReplacedEndpoints } from "../peers/replaced-endpoints.ts";
import type { Step } from "../step.ts";
import { diffMesh } from "./diff.ts";
import { type DiffOptions, sinkKey } from "./diff-device.ts";
import type { Mesh, MeshDevice, MeshPeer } from "./model.ts";

/**
 * Returns the steps from `observed` to what was programmed, with the endpoints that peers had before others replaced
 * them. Only the objects are compared that `steps` change, which lead to the desired mesh: no sync restores what is as
 * desired. So the comparison of one change does not go through thousands of peers again.
 */
export function diffDamage(
  steps: readonly Step[],
  programmed: Mesh,
  observed: Mesh,
  replaced: ReplacedEndpoints,
  options: DiffOptions,
): Step[] {
  const scope = scopeOf(steps, programmed);
  const restored = withEndpoints(narrow(programmed, scope), replaced);
  // An endpoint that the peer's own packets have changed is no damage, however long ago they came.
  return diffMesh(restored, narrow(observed, scope), {
    ...options,
    hasRoamed: (publicKey) => !replaced.has(publicKey),
  });
}

/** The peers and routes that a comparison is about. There are few of all other objects. */
interface Scope {
  readonly publicKeys: ReadonlySet<string>;
  /** The destinations of the routes. */
  readonly dsts: ReadonlySet<string>;
}

function scopeOf(steps: readonly Step[], programmed: Mesh): Scope {
  const publicKeys = new Set<string>();
  const dsts = new Set<string>();
  const removed = new Set<string>();
  for (const step of steps) {
    if ("route" in step) dsts.add(step.route.dst);
    if (step.do !== "configureDevice") continue;
    for (const { publicKey, allowedIPs = [] } of step.config.peers ?? []) {
      publicKeys.add(publicKey);
      if (publicKey === sinkKey) for (const prefix of allowedIPs) removed.add(prefix);
    }
  }
  if (removed.size > 0)
    for (const { peers } of programmed.devices.values())
      for (const [publicKey, { allowedIPs }] of peers)
        if (allowedIPs.some((prefix) => removed.has(prefix))) publicKeys.add(publicKey);
  return { publicKeys, dsts };
}

function narrow(mesh: Mesh, { publicKeys, dsts }: Scope): Mesh {
  const narrowed = ({ peers, ...device }: MeshDevice): MeshDevice => {
    const some = new Map<string, MeshPeer>();
    for (const publicKey of publicKeys) {
      const peer = peers.get(publicKey);
      if (peer !== undefined) some.set(publicKey, peer);
    }
    return { ...device, peers: some };
  };
  return {
    ...mesh,
    devices: new Map([...mesh.devices].map(([name, device]) => [name, narrowed(device)])),
    routes: dsts.size === 0 ? [] : mesh.routes.filter(({ dst }) => dsts.has(dst)),
  };
}

/** WireGuard changes endpoints itself, so the programmed one is not what a peer had. */
function withEndpoints(mesh: Mesh, replaced: ReplacedEndpoints): Mesh {
  return withPeers(mesh, (key, peer) => {
    const endpoint = replaced.get(key);
    return endpoint === undefined ? peer : { ...peer, endpoint, mayRoam: false };
  });
}

/** Returns what is programmed after this process itself has removed peers from their devices. */
export function withoutPeers(mesh: Mesh, removed: ReadonlySet<string>): Mesh {
  return withPeers(mesh, (key, peer) => (removed.has(key) ? undefined : peer));
}

/** Changes each peer of each device; undefined leaves it out. */
function withPeers(mesh: Mesh, change: (key: string, peer: MeshPeer) => MeshPeer | undefined): Mesh {
  const changed = ({ peers, ...device }: MeshDevice): MeshDevice => ({
    ...device,
    peers: new Map(
      [...peers].flatMap(([key, peer]) => {
        const after = change(key, peer);
        return after === undefined ? [] : [[key, after] as const];
      }),
    ),
  });
  return { ...mesh, devices: new Map([...mesh.devices].map(([name, device]) => [name, changed(device)])) };
}
