// Makes the files of a release: see scripts/release. Each kind of file has its own in scripts/artifacts.
import { createHash } from "node:crypto";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import minimist from "minimist";
import { run } from "./artifacts/commands.ts";
import { makeDeb } from "./artifacts/deb.ts";
import { makeImage } from "./artifacts/image.ts";
import { architectures, type Platform, type Release } from "./artifacts/parts.ts";
import { makeTarball } from "./artifacts/tarball.ts";
import { Tree } from "./artifacts/tree.ts";
import { bundle } from "./bundle.ts";
import type { Arch } from "./engine-options.ts";
import { findComponents } from "./supply/components.ts";
import { makeBom, readNpmBom } from "./supply/sbom.ts";
import { formatThirdParty } from "./supply/third-party.ts";

const root = resolve(import.meta.dir, "..");
const { version, description, license } = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8"),
) as Release;

const args = minimist(process.argv.slice(2), { string: ["_", "out"] });
refuseMistakes(args._);
// Modes of files are the same for every user.
process.umask(0o022);
const dist = resolve(args["out"] ?? join(root, "dist"));
if (args["out"] === undefined) rmSync(dist, { recursive: true, force: true });
mkdirSync(dist, { recursive: true });
if (readdirSync(dist).length > 0) throw new Error(`${dist} is not empty`);
const work = mkdtempSync(join(dist, ".work-"));
const out = join(work, "out");
mkdirSync(out);
try {
  await make();
  for (const name of readdirSync(out)) renameSync(join(out, name), join(dist, name));
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(readFileSync(join(dist, "SHA256SUMS"), "utf8").trimEnd());

async function make(): Promise<void> {
  const components = findComponents(
    await bundle(join(work, "bundle")),
    readFileSync(join(root, "package-lock.json"), "utf8"),
  );
  const release: Release = {
    ...{ root, version, description, license },
    epochSeconds: Number(run(["git", "-C", root, "log", "-1", "--format=%ct"])),
    thirdParty: formatThirdParty(root, components),
  };
  const platforms = (Object.keys(architectures) as Arch[]).map(makePlatform);
  for (const platform of platforms) {
    const { arch, architecture } = platform;
    const archive = `wg-cni-${version}-linux-${arch}.tar.gz`;
    makeTarball(release, platform, join(work, `tarball-${arch}`), join(out, archive));
    makeDeb(release, platform, join(work, `deb-${arch}`), join(out, `wg-cni_${version}_${architecture}.deb`));
  }
  makeImage(release, platforms, join(work, "image"), join(out, `wg-cni-${version}-image.tar`));
  const chart = new Tree(join(work, "chart"));
  cpSync(join(root, "conf/chart"), chart.directory, { recursive: true });
  chart.packCompressed(join(out, `wg-cni-${version}.tgz`), release.epochSeconds, "wg-cni");
  const packages = platforms.map(({ libcPackage }) => libcPackage);
  const bom = makeBom(readNpmBom(root), components, packages, new Date(release.epochSeconds * 1000));
  writeFileSync(join(out, `wg-cni-${version}.cdx.json`), `${JSON.stringify(bom, null, 2)}\n`);
  writeFileSync(join(out, "SHA256SUMS"), sums());
}

/** A release is what a commit says, and has one version. */
function refuseMistakes(words: readonly string[]): void {
  if (words.length !== 1) throw new Error("usage: scripts/release VERSION [--out DIRECTORY]");
  if (words[0] !== version)
    throw new Error(`package.json has the version ${version}, not ${words[0]}: see RELEASING.md`);
  const changed = run(["git", "-C", root, "status", "--porcelain", "--untracked-files=no"]).trim();
  if (changed !== "") throw new Error(`the tree differs from its commit: commit first\n${changed}`);
}

/** Builds the executable, and fetches the C library of the image. */
function makePlatform(arch: Arch): Platform {
  const executable = join(work, `wg-cni-${arch}`);
  run([join(root, "scripts/bun"), join(root, "scripts/build.ts"), "--arch", arch, "--out", executable]);
  const architecture = architectures[arch];
  const [libc, name] = [join(work, `libc-${arch}`), "libc6"];
  const found = run([join(root, "scripts/debian-package"), architecture, name, libc]).trim();
  return { arch, architecture, executable, libc, libcPackage: { name, version: found, architecture } };
}

function sums(): string {
  return readdirSync(out)
    .sort()
    .map(
      (name) =>
        `${createHash("sha256")
          .update(readFileSync(join(out, name)))
          .digest("hex")}  ${name}\n`,
    )
    .join("");
}
