// Images, packed here as `docker save` does it, since there is no registry to fetch
// them from. The one of these tests, sandbox and container alike, is Debian's static
// busybox and nothing else.
// Spec: POSIX ustar; Docker Image Specification 1.2, "Combined Image JSON".

import { readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Fully qualified, so that no runtime looks for it elsewhere. */
export const imageName = "wg-cni.test/busybox:1";

/** The default command of a container of the image: it does nothing until it is killed. */
const command = ["/bin/tail", "-f", "/dev/null"];
const applets = ["sh", "tail", "ping", "ip", "cat", "hostname"];
const directories = ["bin", "dev", "etc", "proc", "run", "sys", "tmp"];

const blockBytes = 512;
/** Type flags of ustar. */
const regular = "0";
const symbolicLink = "2";
const directory = "5";

interface Entry {
  readonly name: string;
  readonly type: string;
  readonly content?: Uint8Array;
  readonly target?: string;
}

/** Writes the archive that `ctr image import` and `podman load` take. */
export function writeImage(path: string): void {
  const busybox = Bun.which("busybox");
  if (busybox === null)
    throw new Error("No busybox in the PATH to make an image of: apt-get install busybox-static");
  const entries = [
    ...directories.map((name) => ({ name: `${name}/`, type: directory })),
    { name: "bin/busybox", type: regular, content: readFileSync(busybox) },
    ...applets.map((name) => ({ name: `bin/${name}`, type: symbolicLink, target: "busybox" })),
  ];
  writeArchive(path, imageName, { Cmd: command, Env: ["PATH=/bin"] }, entries);
}

/** An image of a program and the libraries that it loads, as conf/Containerfile makes it: /NAME is its entry point. */
export function writeProgramImage(path: string, image: string, name: string, program: string): void {
  const listed = Bun.spawnSync(["ldd", program]).stdout.toString();
  const libraries = [...listed.matchAll(/\/\S+/g)].map(([library]) => library.slice(1));
  const parents = new Set(libraries.flatMap(directoriesAbove));
  const entries = [
    ...[...parents].map((above) => ({ name: `${above}/`, type: directory })),
    ...libraries.map((library) => ({ name: library, type: regular, content: readFileSync(`/${library}`) })),
    { name, type: regular, content: readFileSync(program) },
  ];
  writeArchive(path, image, { Entrypoint: [`/${name}`] }, entries);
}

/** Those above come first. */
function directoriesAbove(path: string): string[] {
  const above = dirname(path);
  return above === "." ? [] : [...directoriesAbove(above), above];
}

function writeArchive(path: string, image: string, behaviour: object, entries: readonly Entry[]): void {
  const layer = tar(entries);
  const digest = new Bun.CryptoHasher("sha256").update(layer).digest("hex");
  const config = {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: behaviour,
    rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
  };
  const manifest = [{ Config: "config.json", RepoTags: [image], Layers: ["layer.tar"] }];
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const archive = tar([
    { name: "config.json", type: regular, content: json(config) },
    { name: "layer.tar", type: regular, content: layer },
    { name: "manifest.json", type: regular, content: json(manifest) },
  ]);
  writeFileSync(path, archive);
}

/** Everything belongs to root and may be run; the archive ends with two empty blocks. */
function tar(entries: readonly Entry[]): Uint8Array {
  const parts = entries.flatMap((entry) => {
    const content = entry.content ?? new Uint8Array();
    const padding = new Uint8Array(-content.length & (blockBytes - 1));
    return [header(entry, content.length), content, padding];
  });
  return Buffer.concat([...parts, new Uint8Array(2 * blockBytes)]);
}

function header({ name, type, target = "" }: Entry, size: number): Uint8Array {
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  const fields: readonly (readonly [offset: number, text: string])[] = [
    [0, name],
    [100, octal(0o755, 7)],
    [108, octal(0, 7)],
    [116, octal(0, 7)],
    [124, octal(size, 11)],
    [136, octal(0, 11)],
    // The checksum counts as blanks while it is made.
    [148, " ".repeat(8)],
    [156, type],
    [157, target],
    [257, "ustar\0" + "00"],
  ];
  for (const [offset, text] of fields) block.write(text, offset, "latin1");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)} `, 148, "latin1");
  return block;
}
