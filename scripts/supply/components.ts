// The npm packages whose code is in the executable, with what package-lock.json and their own files say of them.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { bunPackages } from "../compile.ts";

export interface Component {
  /** The key in package-lock.json: the same package may be there in two versions. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** SPDX identifier. */
  readonly license: string;
  /** Subresource Integrity: `sha512-` and base64. */
  readonly integrity: string;
}

type Locked = Readonly<Record<string, Omit<Component, "path" | "name">>>;

/** The licences that Apache-2.0 software may contain, provided that their texts go with it. */
const acceptedLicenses: readonly string[] = ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"];

const packagePath = /(?:node_modules\/(?:@[^/]+\/)?[^/]+\/)+/;

/**
 * Returns the packages of the bundled files (bundle.ts), and Bun for each architecture, sorted by path.
 * Throws an Error if the lock file lacks one, or if the licence of one is not accepted.
 */
export function findComponents(files: readonly string[], lockFile: string): Component[] {
  const { packages } = JSON.parse(lockFile) as { readonly packages: Locked };
  const bundled = files.flatMap((file) => packagePath.exec(file)?.[0].slice(0, -1) ?? []);
  const runtimes = Object.values(bunPackages).map((name) => `node_modules/${name}`);
  return [...new Set([...bundled, ...runtimes])].sort().map((path) => {
    const locked = packages[path];
    if (locked === undefined) throw new Error(`package-lock.json has no ${path}, which is in the executable`);
    const { version, license, integrity } = locked;
    if (!acceptedLicenses.includes(license))
      throw new Error(
        `${path}@${version} has the licence ${license}, which is not accepted: see ${import.meta.file}`,
      );
    return { path, name: nameOf(path), version, license, integrity };
  });
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
}

/** Returns the texts of the licence and of the notice that a package comes with. */
export function readLicenseTexts(root: string, { path }: Component): string[] {
  const directory = join(root, path);
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((file) => /^(?:licen[cs]e|copying|notice)/i.test(file))
    .sort()
    .map((file) => readFileSync(join(directory, file), "utf8").trim());
}
