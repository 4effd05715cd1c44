// The parts of which the archives of a release are made, and the files that several of them have.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Arch } from "../engine-options.ts";
import type { DebianPackage } from "../supply/sbom.ts";
import { bashCompletion, fishCompletion, zshCompletion } from "./completions.ts";
import { manPage } from "./man.ts";
import type { Content, Tree } from "./tree.ts";

export interface Release {
  readonly root: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  /** The time of the commit: every file of a release has it. */
  readonly epochSeconds: number;
  readonly thirdParty: string;
}

/** The executable and the C library of one architecture. */
export interface Platform {
  readonly arch: Arch;
  /** Debian's and Go's name of it. */
  readonly architecture: string;
  /** Path of the executable. */
  readonly executable: string;
  /** Directory with the files of Debian's C library. */
  readonly libc: string;
  readonly libcPackage: DebianPackage;
}

export const architectures: Readonly<Record<Arch, string>> = { x64: "amd64", arm64: "arm64" };

/** The directories of one package format for files that all have. */
export interface Places {
  readonly man: string;
  readonly completions: { readonly bash: string; readonly zsh: string; readonly fish: string };
  readonly conflists: string;
}

/** Puts the man page, the completions and the sample networks into a tree. */
export function putCommon(tree: Tree, { root, version, epochSeconds }: Release, places: Places): void {
  tree.put(places.man, manPage(root, version, new Date(epochSeconds * 1000)));
  tree.put(places.completions.bash, bashCompletion());
  tree.put(places.completions.zsh, zshCompletion());
  tree.put(places.completions.fish, fishCompletion());
  for (const name of readdirSync(join(root, "conf")))
    if (name.endsWith(".conflist")) tree.put(`${places.conflists}/${name}`, conf(root, name));
}

export function conf(root: string, name: string): Content {
  return { file: join(root, "conf", name) };
}
