// Makes what the virtual machine boots from: the unpacked Debian kernel, an
// initramfs, and a root disk with the tools, Bun and the production
// dependencies. The two files are kept under .cache by the hash of what went
// into them; what changes often, sources and plugin, is not among it. Needs what `scripts/setup test` provides.
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

export const root = resolve(import.meta.dir, "../..");
const cache = join(root, ".cache");

/** Programs of this machine that the virtual one gets, with their libraries; the rest is busybox. */
const tools = [
  ...["ip", "bridge", "tc", "ss", "wg", "wireguard-go", "nft", "ping", "tcpdump", "sysctl"],
  ...["bash", "unshare", "nsenter", "setpriv", "mount", "umount", "strace", "jq", "kmod"],
];
const cniPlugins = ["bridge", "host-local", "loopback", "portmap", "ptp", "tuning"];
/** Needed before the root disk is mounted; all other modules are loaded from there on demand. */
const bootModules = ["virtio_pci", "virtio_blk", "virtio_console", "overlay"];
const bunPackage = "node_modules/@oven/bun-linux-x64";

export interface Image {
  readonly kernel: string;
  readonly initramfs: string;
  readonly disk: string;
}

/** The unpacked kernel package. */
export interface KernelFiles {
  readonly kernel: string;
  /** Has lib/modules. */
  readonly directory: string;
  readonly version: string;
}

/** The image with the present tools; made when the cache has none. */
export function prepareImage(): Image {
  const files = findKernel();
  const sources = imageSources();
  const hash = hashOf([files.kernel, ...sources.values(), join(import.meta.dir, "init"), import.meta.path]);
  const made = join(cache, `vm-image-${hash}`);
  if (!existsSync(made)) removeOldImages();
  return keepImage(made, files, which("busybox"), (stage) => fillDisk(stage, sources, files));
}

/** Returns the image in `made`; makes it if it is not there, with what `fill` puts into the root disk. */
export function keepImage(
  made: string,
  files: KernelFiles,
  busybox: string,
  fill: (stage: string) => void,
): Image {
  const image = { kernel: files.kernel, initramfs: join(made, "initramfs"), disk: join(made, "disk") };
  if (existsSync(made)) return image;
  const work = mkdtempSync(join(cache, "unpack-"));
  try {
    const [unfinished, stage] = [join(work, "image"), join(work, "disk")];
    mkdirSync(unfinished);
    makeInitramfs(join(work, "initramfs"), files, busybox, join(unfinished, "initramfs"));
    mkdirSync(stage);
    fill(stage);
    makeFilesystem(stage, join(unfinished, "disk"));
    if (!existsSync(made)) renameSync(unfinished, made);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return image;
}

/** Runs a program to its end and returns its output; throws when it fails. */
export function command(argv: string[], cwd = root): string {
  const done = Bun.spawnSync(argv, { cwd, stdout: "pipe", stderr: "pipe" });
  if (done.exitCode !== 0) throw new Error(`${argv.join(" ")} failed:\n${done.stderr}${done.stdout}`);
  return done.stdout.toString();
}

function findKernel(): KernelFiles {
  const prefix = "vm-kernel-";
  const found = existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith(prefix)) : [];
  const name = found.sort(Bun.semver.order).at(-1);
  if (name === undefined) throw new Error("there is no kernel under .cache: run 'scripts/setup test' first");
  const version = name.slice(prefix.length);
  const directory = join(cache, name);
  return { kernel: join(directory, "boot", `vmlinuz-${version}`), directory, version };
}

/** Destination in the root disk -> file of this machine. */
function imageSources(): Map<string, string> {
  const sources = new Map<string, string>();
  const addProgram = (destination: string, file: string) => {
    sources.set(destination, file);
    for (const library of librariesOf(file)) sources.set(library, library);
  };
  for (const name of tools) addProgram(`/usr/bin/${name}`, which(name));
  // Not busybox's shell, which prefers its own "ip" and "mount" to the ones in PATH.
  addProgram("/usr/bin/sh", which("dash"));
  sources.set("/usr/bin/busybox", which("busybox"));
  sources.set("/sbin/agent", join(import.meta.dir, "agent"));
  for (const name of cniPlugins) addProgram(`/usr/lib/cni/${name}`, `/usr/lib/cni/${name}`);
  addProgram(`/repo/${bunPackage}/bin/bun`, join(root, bunPackage, "bin/bun"));
  return sources;
}

function which(name: string): string {
  const file = Bun.which(name, { PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` });
  if (file === null) throw new Error(`${name} is not installed: run 'scripts/setup test' first`);
  return file;
}

/** The shared libraries of a program and its loader; none for a static one, on which ldd fails. */
function librariesOf(file: string): string[] {
  const done = Bun.spawnSync(["ldd", file], { stdout: "pipe", stderr: "ignore" });
  return [...done.stdout.toString().matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
}

function hashOf(files: string[]): string {
  const hasher = new Bun.CryptoHasher("sha1");
  for (const file of files) hasher.update(`${file} ${Bun.hash(readFileSync(file))}\n`);
  hasher.update(readFileSync(join(root, "package-lock.json")));
  return hasher.digest("hex").slice(0, 12);
}

function removeOldImages(): void {
  mkdirSync(cache, { recursive: true });
  for (const name of readdirSync(cache)) {
    if (name.startsWith("vm-image-")) rmSync(join(cache, name), { recursive: true, force: true });
  }
}

function makeInitramfs(
  stage: string,
  { directory, version }: KernelFiles,
  busybox: string,
  outfile: string,
): void {
  mkdirSync(join(stage, "bin"), { recursive: true });
  mkdirSync(join(stage, "modules"));
  copyProgram(busybox, join(stage, "bin/busybox"));
  copyProgram(join(import.meta.dir, "init"), join(stage, "init"));
  const listed = command([
    which("modprobe"),
    "-d",
    directory,
    "-S",
    version,
    "-a",
    "--show-depends",
    ...bootModules,
  ]);
  // The order in which they are loaded is the order of their names.
  const modules = new Set([...listed.matchAll(/^insmod (\S+)/gm)].map((match) => match[1]!));
  for (const [i, file] of [...modules].entries()) {
    copyFileSync(file, join(stage, "modules", `${String(i).padStart(2, "0")}-${basename(file)}`));
  }
  command(["sh", "-c", `find . | cpio --quiet -o -H newc -R 0:0 >'${outfile}'`], stage);
}

function fillDisk(stage: string, sources: Map<string, string>, { directory, version }: KernelFiles): void {
  // The merged /usr of Debian, with one directory for all programs.
  for (const name of ["usr/bin", "usr/lib", "usr/lib64"]) mkdirSync(join(stage, name), { recursive: true });
  const links = { bin: "usr/bin", sbin: "usr/bin", lib: "usr/lib", lib64: "usr/lib64", "usr/sbin": "bin" };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(stage, name));
  makeDirectories(stage);
  for (const [destination, file] of sources) copyProgram(file, join(stage, destination));
  linkPrograms(stage);
  symlinkSync(`/repo/${bunPackage}/bin/bun`, join(stage, "usr/bin/bun"));
  cpSync(join(directory, "lib/modules", version), join(stage, "lib/modules", version), { recursive: true });
  if (existsSync("/etc/iproute2")) cpSync("/etc/iproute2", join(stage, "etc/iproute2"), { recursive: true });
  copyDependencies(stage);
}

/** Makes what every machine has besides its programs. */
export function makeDirectories(stage: string): void {
  for (const name of ["dev", "proc", "sys", "run", "tmp", "var/lib", "etc", "opt/cni/bin"]) {
    mkdirSync(join(stage, name), { recursive: true });
  }
  symlinkSync("/run", join(stage, "var/run"));
  writeFileSync(join(stage, "etc/passwd"), "root:x:0:0:root:/tmp:/bin/sh\n");
  writeFileSync(join(stage, "etc/group"), "root:x:0:\n");
}

function makeFilesystem(stage: string, outfile: string): void {
  const bytes = Number(command(["du", "-sb", stage]).split("\t")[0]);
  const mebibytes = Math.ceil((bytes * 1.15) / 2 ** 20) + 16;
  command([
    "mke2fs",
    "-q",
    "-t",
    "ext4",
    "-O",
    "^has_journal",
    "-m",
    "0",
    "-d",
    stage,
    outfile,
    `${mebibytes}M`,
  ]);
}

/** A link counts, wherever it leads: its end is in the machine. */
function hasEntry(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Names by which programs are called beside their own: busybox's applets, kmod's, the plugin. */
export function linkPrograms(stage: string): void {
  const programs = join(stage, "usr/bin");
  const isThere = (name: string) =>
    ["usr/bin", "usr/sbin"].some((directory) => hasEntry(join(stage, directory, name)));
  for (const name of ["modprobe", "insmod", "lsmod"])
    if (!isThere(name)) symlinkSync("kmod", join(programs, name));
  for (const applet of command([which("busybox"), "--list"])
    .trim()
    .split("\n")) {
    if (!isThere(applet)) symlinkSync("busybox", join(programs, applet));
  }
  symlinkSync("/repo/plugin-bin/wg-cni", join(stage, "opt/cni/bin/wg-cni"));
}

/** The packages that the sources import at run time, as package-lock.json lists them. */
function copyDependencies(stage: string): void {
  const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };
  for (const [name, entry] of Object.entries(lock.packages)) {
    if (name === "" || entry.dev || entry.optional) continue;
    cpSync(join(root, name), join(stage, "repo", name), { recursive: true });
  }
}

export function copyProgram(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
  chmodSync(to, 0o755);
}
