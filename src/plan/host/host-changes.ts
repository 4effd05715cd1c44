// Settings of the host that other programs use, too, and their restoration. Each of them has a row in
// docs/reference/host-changes.md. A value is saved before it is changed, and `down` restores it if it is
// still as we set it. Pure.
import type { Family } from "../../net/ip.ts";
import type { SysctlStep } from "../step.ts";

/** Lets the reverse-path check of a marked packet use its mark: on one interface, never on `all`. */
export function validMarkSysctl(dev: string): string {
  return `net/ipv4/conf/${dev}/src_valid_mark`;
}

export function isValidMarkSysctl(path: string): boolean {
  return path.startsWith("net/ipv4/conf/") && path.endsWith("/src_valid_mark");
}

export const forwardingSysctl = { 4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding" } as const;

/** Returns the name that sysctl(8) takes: with slashes if an interface has a dot in its name. */
export function sysctlName(path: string): string {
  return path.includes(".") ? path : path.replaceAll("/", ".");
}

/** The kernel sets this one of every interface together with the one above. */
export function deviceForwarding(family: Family, dev: string): string {
  return family === 4 ? `net/ipv4/conf/${dev}/forwarding` : `net/ipv6/conf/${dev}/forwarding`;
}

/** A router accepts no redirects: the kernel sets this one to the opposite of IPv4's forwarding. */
export const redirectsSysctl = "net/ipv4/conf/all/accept_redirects";

/** With the value 2, a host that forwards accepts router advertisements, too. */
export function acceptRaSysctl(dev: string): string {
  return `net/ipv6/conf/${dev}/accept_ra`;
}

/** Returns the sysctl whose change also changed this one; undefined if this one was changed by itself. */
export function changesWith(path: string): string | undefined {
  if (path === redirectsSysctl || /^net\/ipv4\/conf\/[^/]+\/forwarding$/.test(path))
    return forwardingSysctl[4];
  const isOfDevice = /^net\/ipv6\/conf\/[^/]+\/forwarding$/.test(path) && path !== forwardingSysctl[6];
  return isOfDevice ? forwardingSysctl[6] : undefined;
}

/** True for sysctls that the pods of a main plugin need: forwarding, and those that change with it. */
export function isForForwarding(path: string): boolean {
  const isCause = path === forwardingSysctl[4] || path === forwardingSysctl[6];
  return isCause || changesWith(path) !== undefined || path.endsWith("/accept_ra");
}

/** Returns the value that we set, or that the kernel set along with another one. */
export function ourValue(path: string): string {
  if (path === redirectsSysctl) return "0";
  return path.endsWith("/accept_ra") ? "2" : "1";
}

/** Sorts causes first, then the sysctls that the kernel changes along; advertisements come last, after forwarding has ended. */
export function restoreOrder(saved: readonly Saved[]): Saved[] {
  const rank = ({ path }: Saved) =>
    path.endsWith("/accept_ra") ? 2 : changesWith(path) === undefined ? 0 : 1;
  return saved.toSorted((a, b) => rank(a) - rank(b));
}

/** True for a setting of a foreign interface or of the whole host: its earlier value is saved. */
export function isHostSysctl(path: string, ownDevices: readonly string[]): boolean {
  return !ownDevices.some((dev) => path.startsWith(`net/ipv4/conf/${dev}/`));
}

export interface Saved {
  readonly path: string;
  readonly before: string;
}

/** Plans to restore src_valid_mark on the interfaces that no longer need it. */
export function releaseValidMarks(
  saved: readonly Saved[],
  desired: ReadonlyMap<string, string>,
): SysctlStep[] {
  return saved
    .filter(({ path }) => isValidMarkSysctl(path) && !desired.has(path))
    .map(({ path, before }) => ({ do: "writeSysctl", path, value: before, back: true }));
}
