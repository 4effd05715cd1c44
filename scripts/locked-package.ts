// Fetches an npm package that package-lock.json names, and compares it with the hash
// there. `npm ci` does that for the packages that it installs; a package for another machine's
// architecture is not installed, and `npm pack` compares nothing with the lock file.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** Subresource Integrity: `sha512-` and base64. */
  readonly integrity: string;
}

/** Puts the tarball of a package into an empty directory, as `npm pack` does. */
export type Pack = (spec: string, directory: string) => void;

/** Reads a package from a lock file (version 3). Throws an Error if it has none, or none with a strong hash. */
export function readLocked(lockFile: string, name: string): LockedPackage {
  const { packages } = JSON.parse(lockFile) as { readonly packages: Record<string, Partial<LockedPackage>> };
  const { version, integrity } = packages[`node_modules/${name}`] ?? {};
  if (version === undefined || integrity === undefined || !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity))
    throw new Error(
      `package-lock.json has no sha512 hash of ${name}: run \`npm install --package-lock-only\``,
    );
  return { name, version, integrity };
}

/** Throws an Error if the bytes are not the locked ones. */
export function requireLocked({ name, version, integrity }: LockedPackage, tarball: Uint8Array): void {
  const found = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
  if (found !== integrity)
    throw new Error(
      `${name}@${version} is not what package-lock.json names: ${integrity} there, and ${found} fetched. Nothing of it was used.`,
    );
}

/**
 * Returns the verified tarball's path below `cache`, fetched by `pack` if it is not there. It is
 * compared every time, for the cache is a directory like any other; one that differs is removed.
 */
export function fetchLocked(locked: LockedPackage, cache: string, pack: Pack): string {
  const tarball = join(cache, `${locked.name.replace("/", "-")}-${locked.version}.tgz`);
  if (!existsSync(tarball)) download(locked, tarball, pack);
  try {
    requireLocked(locked, readFileSync(tarball));
  } catch (error) {
    rmSync(tarball, { force: true });
    throw error;
  }
  return tarball;
}

function download({ name, version }: LockedPackage, tarball: string, pack: Pack): void {
  const directory = `${tarball}.part`;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  try {
    pack(`${name}@${version}`, directory);
    const [file] = readdirSync(directory);
    if (file === undefined) throw new Error(`npm pack ${name}@${version} gave no file`);
    mkdirSync(dirname(tarball), { recursive: true });
    renameSync(join(directory, file), tarball);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
