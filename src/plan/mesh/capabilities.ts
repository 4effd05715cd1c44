// The parts of the mesh that this host supports. A family that our devices cannot carry, or that
// has no routing rules, and an object that the kernel does not support, are facts and not failures:
// they are left out of the desired state, reported once, and observed again. Pure; the observations
// come from reconcile/capabilities.ts.
import type { Family } from "../../net/ip.ts";
import { sysctlName } from "../host/host-changes.ts";
import type { Step } from "../step.ts";
import type { Mesh } from "./model.ts";

export interface Capabilities {
  /** Families that our devices can carry. */
  readonly tunnel: readonly Family[];
  /** Families that have routing rules, and so tables of ours. */
  readonly routing: readonly Family[];
  /** Families that the host forwards: in strict mode nothing of these may leave past the tunnel. */
  readonly forwarding: readonly Family[];
  /** The reason why a family is missing above. */
  readonly missing: readonly MissingFamily[];
}

export interface MissingFamily {
  readonly family: Family;
  /** A sentence. */
  readonly why: string;
}

/** A host without anything missing. */
export const fullCapabilities: Capabilities = {
  ...{ tunnel: [4, 6], routing: [4, 6], forwarding: [4, 6] },
  missing: [],
};

/** Objects that the kernel refused for good, by a key of their kind, with the reason as a sentence. */
export type UnsupportedObjects = Readonly<Record<string, string>>;

/** Returns the mesh without the objects that the kernel refused for good. */
export function withoutUnsupported(mesh: Mesh, unsupported: UnsupportedObjects): Mesh {
  if (Object.keys(unsupported).length === 0) return mesh;
  return {
    ...mesh,
    sysctls: new Map([...mesh.sysctls].filter(([path]) => unsupported[sysctlKey(path)] === undefined)),
    firewall: mesh.firewall.filter(({ family }) => unsupported[tableKey(family)] === undefined),
  };
}

/** False if the table that sees packets was refused. */
export function hasTable(unsupported: UnsupportedObjects): boolean {
  return unsupported[tableKey("inet")] === undefined;
}

/** The kernel's errors for objects that it does not have, and for those that this process may not change. */
const unsupported: readonly string[] = ["EOPNOTSUPP", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ENOENT", "EINVAL"];
const unwritable: readonly string[] = ["EROFS", "EACCES", "EPERM"];

/** Returns a key and a sentence if a step failed because this host cannot have its object. */
export function findUnsupported(step: Step, error: Error): readonly [key: string, why: string] | undefined {
  const code = "code" in error ? String(error.code) : "";
  if (step.do === "applyFirewall" && unsupported.includes(code))
    return [
      tableKey(step.table.family),
      `nftables takes no table of the family ${step.table.family} as wg-cni needs it, so nothing counts or drops what it would see: ${error.message}`,
    ];
  if (step.do === "writeSysctl" && unwritable.includes(code))
    return [
      sysctlKey(step.path),
      `${sysctlName(step.path)} cannot be set to ${step.value}: ${error.message}. Make /proc/sys writable, or set it on the host`,
    ];
  return undefined;
}

function tableKey(family: string): string {
  return `table ${family}`;
}

function sysctlKey(path: string): string {
  return `sysctl ${path}`;
}

/**
 * Returns the part of a pod that does not work because a step failed: all of it, one family, or only the
 * traffic to one peer, which no other pod or peer has to wait for. In strict mode a refusing route stands
 * behind every route into the tunnel.
 */
export function findExtent(step: Step): "all" | "peer" | Family {
  switch (step.do) {
    case "addRoute":
    case "replaceRoute":
    case "deleteRoute":
      return step.route.type === "unicast" ? "peer" : step.route.family;
    case "addRule":
    case "deleteRule":
      return step.rule.family;
    case "addAddress":
    case "deleteAddress":
      return step.address.ip.includes(":") ? 6 : 4;
    case "writeSysctl":
    case "setThreading":
      return "peer";
    default:
      return "all";
  }
}

/**
 * Returns the families whose traffic strict mode can neither encrypt nor refuse: no rule leads to our
 * tables, and without nftables nothing drops packets that go past them.
 */
export function findOpenFamilies({ routing, forwarding }: Capabilities, hasFirewall: boolean): Family[] {
  return hasFirewall ? [] : forwarding.filter((family) => !routing.includes(family));
}
