// Every path of the small cluster as a table: the client, the address, the server that should answer, and
// the nodes between which it may be read. Traffic between hosts is not encrypted; all other traffic is,
// whatever was translated on the way.
//
//   from ──► x ────► y ────► z       y and z are other nodes: y has the address,
//                                    z the server where it is another node's

import type { Namespaces } from "../../lab/namespaces.ts";
import { hostWebPort, webPort } from "./pods.ts";
import { type Backend, clusterIp, hostPort, nodePort, podNames, type Site } from "./services.ts";

export const protocols = ["tcp", "udp"] as const;
export type Protocol = (typeof protocols)[number];

export interface Path {
  /** "tcp pod n1 -> n2: node port, its pod". */
  readonly name: string;
  readonly protocol: Protocol;
  readonly from: Namespaces;
  readonly ip: string;
  readonly port: number;
  /** The pod that answers. */
  readonly answers: string;
  /** Pairs of nodes, the lesser first, between which hosts talk to each other. */
  readonly mayBeRead: readonly string[];
}

type Asker = "pod" | "host";

interface Target {
  readonly ip: string;
  readonly port: number;
  readonly backend: Backend;
  /** The place of the server. */
  readonly at: Site;
  /** The node of the node port; a service is translated on the client's node. */
  readonly by?: Site;
}

/** Address -> what it leads to, asked from x. */
const targets: Readonly<Record<string, (x: Site, y: Site, z: Site) => Target>> = {
  pod: (_x, y) => ({ ip: y.pod.ip(4), port: webPort, backend: "pod", at: y }),
  host: (_x, y) => ({ ip: y.machine.ip, port: hostWebPort, backend: "host", at: y }),
  "cluster IP of a pod": (_x, y) => ({ ip: clusterIp("pod", y.machine), port: 80, backend: "pod", at: y }),
  "cluster IP of a host": (_x, y) => ({ ip: clusterIp("host", y.machine), port: 80, backend: "host", at: y }),
  "host port": (_x, y) => ({ ip: y.machine.ip, port: hostPort, backend: "pod", at: y, by: y }),
  "node port, its pod": (_x, y) => byNodePort(y, "pod", "Cluster", y),
  "node port, its host": (_x, y) => byNodePort(y, "host", "Cluster", y),
  "local node port, its pod": (_x, y) => byNodePort(y, "pod", "Local", y),
  "local node port, its host": (_x, y) => byNodePort(y, "host", "Local", y),
  "node port, another's pod": (_x, y, z) => byNodePort(y, "pod", "Cluster", z),
  "node port, another's host": (_x, y, z) => byNodePort(y, "host", "Cluster", z),
  "own node port, its pod": (x, y) => byNodePort(x, "pod", "Cluster", y),
  "own node port, its host": (x, y) => byNodePort(x, "host", "Cluster", y),
};

function byNodePort(by: Site, backend: Backend, policy: "Cluster" | "Local", at: Site): Target {
  return { ip: by.machine.ip, port: nodePort(backend, policy, at.machine), backend, at, by };
}

/** All paths between the sites, and from outside, which is nobody's node. */
export function allPaths(sites: readonly Site[], outside: Namespaces): Path[] {
  return protocols.flatMap((protocol) =>
    pathsOf(sites, outside).map((path) => ({ ...path, protocol, name: `${protocol} ${path.name}` })),
  );
}

type AnyPath = Omit<Path, "protocol">;

/** Servers have the same ports for each protocol. */
function pathsOf(sites: readonly Site[], outside: Namespaces): AnyPath[] {
  const paths: AnyPath[] = [];
  for (const [index, x] of sites.entries())
    for (const y of sites.filter((site) => site !== x)) {
      // The third one, or with two sites the first again.
      const z = sites.filter((site) => site !== x && site !== y)[0] ?? x;
      for (const [address, find] of Object.entries(targets)) {
        const target = find(x, y, z);
        for (const asker of ["pod", "host"] as const) paths.push(pathFrom(asker, x, address, y, target));
        // It asks each node once.
        const isNext = y === sites[(index + 1) % sites.length];
        if (isNext && (target.by !== undefined || address === "host"))
          paths.push(pathFromOutside(outside, address, y, target));
      }
    }
  return paths;
}

function pathFrom(asker: Asker, x: Site, address: string, y: Site, target: Target): AnyPath {
  const { ip, port, backend, at } = target;
  return {
    name: `${asker} ${x.machine.name} -> ${y.machine.name}: ${address}`,
    from: asker === "pod" ? x.pod : x.machine.node,
    ...{ ip, port, answers: podNames(at.machine.name)[backend] },
    mayBeRead: asker === "pod" ? [] : hostHops(x, target),
  };
}

/** The nodes between which a host talks to a host. A destination that x itself translates leads to the server at once. */
function hostHops(x: Site, { backend, at, by = x }: Target): string[] {
  return [...hop(x, by), ...(backend === "host" ? hop(by, at) : [])];
}

/** Traffic from outside is not secret; from the first node on, the client is a host. */
function pathFromOutside(
  from: Namespaces,
  address: string,
  y: Site,
  { ip, port, backend, at, by }: Target,
): AnyPath {
  return {
    name: `outside -> ${y.machine.name}: ${address}`,
    ...{ from, ip, port, answers: podNames(at.machine.name)[backend] },
    mayBeRead: backend === "host" && by !== undefined ? hop(by, at) : [],
  };
}

function hop(one: Site, other: Site): string[] {
  return one === other ? [] : [[one.machine.name, other.machine.name].toSorted().join("-")];
}
