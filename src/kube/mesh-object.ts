// The WireGuardMesh object: the settings that all nodes of the cluster share. There is one such
// object, which an operator writes and every agent follows (conf/kubernetes/mesh.yaml). Pure.

import { attempt, ParseError, parseAt } from "../net/error.ts";
import { scalarText } from "../net/scalar-text.ts";
import { refuseImpossibleCIDRs } from "../plan/peers/cluster-cidrs.ts";
import { type Mode, parseSetting } from "../plan/settings/settings.ts";
import { apiVersion } from "./object.ts";

export const meshesPath = "/apis/wg-cni.dev/v1alpha1/wireguardmeshes";
export const meshName = "default";

export interface MeshObject {
  readonly name: string;
  readonly resourceVersion: string;
  /** Absent if the object has none that this version knows. */
  readonly mode?: Mode;
  /** Absent if each node has its own. */
  readonly clusterCIDRs?: readonly string[];
  /** The same for nodes. */
  readonly nodeCIDRs?: readonly string[];
  /** One sentence for each field that cannot be followed, with the reason. */
  readonly warnings: readonly string[];
}

/** Formats the object that is applied to change only the mode. */
export function formatMesh(mode: Mode) {
  return { apiVersion, kind: "WireGuardMesh", metadata: { name: meshName }, spec: { mode } };
}

/** Returns undefined if the object has no name. */
export function readMesh(json: unknown): MeshObject | undefined {
  const { metadata, spec } = (json ?? {}) as Record<string, Record<string, unknown> | undefined>;
  const { name, resourceVersion } = metadata ?? {};
  if (typeof name !== "string") return undefined;
  const warnings: string[] = [];
  const mode = parseOrWarn(() => parseSetting("mode", spec?.["mode"]), warnings);
  const read = (name: "clusterCIDRs" | "nodeCIDRs") => {
    const given = spec?.[name];
    return given === undefined ? undefined : parseOrWarn(() => readCIDRs(name, given), warnings);
  };
  const clusterCIDRs = read("clusterCIDRs");
  const nodeCIDRs = read("nodeCIDRs");
  return {
    ...{ name, resourceVersion: typeof resourceVersion === "string" ? resourceVersion : "", warnings },
    ...(mode === undefined ? {} : { mode }),
    ...(clusterCIDRs === undefined ? {} : { clusterCIDRs }),
    ...(nodeCIDRs === undefined ? {} : { nodeCIDRs }),
  };
}

function readCIDRs(name: "clusterCIDRs" | "nodeCIDRs", given: unknown): readonly string[] {
  const cidrs = parseSetting(name, given);
  const raw = Array.isArray(given) ? given.map(scalarText) : cidrs;
  parseAt(name, () => refuseImpossibleCIDRs(raw, name === "clusterCIDRs" ? "pods" : "nodes"));
  return cidrs;
}

/** Name of the object in the list of rejected records. */
export const meshObjectName = `wireguardmesh/${meshName}`;

function parseOrWarn<T>(parse: () => T, warnings: string[]): T | undefined {
  return attempt(ParseError, parse, ({ message }) => {
    warnings.push(`${message}; it stays as it was`);
    return undefined;
  });
}
