// A directory of files that becomes an archive. The bytes of an archive depend on the names, contents and modes
// of its files, and on the time of the release: not on the owner, the order or the time at which files were written.
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "./commands.ts";

export type Content = string | { readonly file: string };

export class Tree {
  constructor(readonly directory: string) {
    mkdirSync(directory, { recursive: true });
  }

  put(path: string, content: Content, mode = 0o644): void {
    const target = this.#prepare(path);
    if (typeof content === "string") writeFileSync(target, content);
    else copyFileSync(content.file, target);
    chmodSync(target, mode);
  }

  link(path: string, target: string): void {
    symlinkSync(target, this.#prepare(path));
  }

  /** Makes a tar archive of it, with all names below `prefix`. */
  pack(archive: string, epochSeconds: number, prefix = "."): void {
    const fixed = ["--sort=name", `--mtime=@${epochSeconds}`, "--owner=0", "--group=0", "--numeric-owner"];
    const names = `--transform=flags=r;s,^\\.,${prefix},`;
    run([
      "tar",
      "--create",
      "--format=gnu",
      ...fixed,
      names,
      `--directory=${this.directory}`,
      `--file=${archive}`,
      ".",
    ]);
  }

  /** As pack, and compresses the archive without a name or time in it. */
  packCompressed(archive: string, epochSeconds: number, prefix = "."): void {
    const plain = archive.replace(/\.gz$|\.tgz$/, ".tar-part");
    this.pack(plain, epochSeconds, prefix);
    compress(plain, archive);
  }

  #prepare(path: string): string {
    const target = join(this.directory, path);
    mkdirSync(dirname(target), { recursive: true });
    return target;
  }
}

/** Replaces a file by its compressed form. */
export function compress(plain: string, compressed: string): void {
  run(["sh", "-euc", 'gzip -n -6 <"$0" >"$1"; rm "$0"', plain, compressed]);
}
