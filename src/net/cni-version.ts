// The versions of the CNI specification that we support, and their order. cni/result.ts knows how their
// results differ.

/** Oldest first: the position is the order. */
export const supportedVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export type CniVersion = (typeof supportedVersions)[number];

export const newestVersion: CniVersion = "1.1.0";

/** A configuration without cniVersion is of this one (libcni, ConfigDecoder). */
export const versionWhenMissing: CniVersion = "0.1.0";

export function isSupported(version: string): version is CniVersion {
  return (supportedVersions as readonly string[]).includes(version);
}

export function versionAtLeast(version: CniVersion, least: CniVersion): boolean {
  return supportedVersions.indexOf(version) >= supportedVersions.indexOf(least);
}

/** Returns the answer to VERSION, the same for every configuration (CNI specification 1.1.0, "VERSION"). */
export function formatVersions(): string {
  return `${JSON.stringify({ cniVersion: newestVersion, supportedVersions })}\n`;
}
