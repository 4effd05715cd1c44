// Makes what an arm64 machine boots from, out of Debian's packages (scripts/arm64-assets): none of them runs here. Kept
// beside them, until they are fetched anew.
import { cpSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { command, copyProgram, type Image, keepImage, linkPrograms, makeDirectories, root } from "./image.ts";

export function prepareArm64Image(): Image {
  const assets = command([join(root, "scripts/arm64-assets")]).trim();
  const directory = join(assets, "root");
  const prefix = "vmlinuz-";
  const name = readdirSync(join(directory, "boot")).find((file) => file.startsWith(prefix)) as string;
  const files = { kernel: join(directory, "boot", name), directory, version: name.slice(prefix.length) };
  return keepImage(join(assets, "image"), files, join(directory, "usr/bin/busybox"), (stage) => {
    for (const part of ["usr", "bin", "sbin", "lib", "etc"])
      cpSync(join(directory, part), join(stage, part), { recursive: true, verbatimSymlinks: true });
    makeDirectories(stage);
    copyProgram(join(import.meta.dir, "agent"), join(stage, "usr/sbin/agent"));
    linkPrograms(stage);
  });
}
