// The product's container image, made with podman by conf/Containerfile. The image
// to build in is made of this machine's programs, since there may be no registry of
// images; npm packages come from where this machine has them from. Podman's
// storage is in a given directory, and mounts are private to its processes.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { repository } from "./paths.ts";

export const imageName = "localhost/wg-cni:test";
const baseName = "localhost/wg-cni-build:test";
const buildTimeoutMs = 300_000;

/** podman's first arguments; `directory` is its own. */
export function podman(directory: string): string[] {
  const place = ["--root", `${directory}/root`, "--runroot", `${directory}/run`];
  return ["podman", ...place, "--cgroup-manager", "cgroupfs", "--events-backend", "none"];
}

/** Some machines may not set the limits that podman sets. */
export const limits = ["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096"];

/** Builds it; returns what the build said. Throws Error. */
export function buildImage(directory: string): string {
  const base = `${directory}/base`;
  mkdirSync(base, { recursive: true });
  must(["sh", "-euc", baseScript, base]);
  must(["sh", "-euc", `tar c -C "$0" . | exec "$@" import - ${baseName}`, base, ...podman(directory)]);
  rmSync(base, { recursive: true });
  const registry = must(["npm", "config", "get", "registry"]).trim();
  const cafile = must(["npm", "config", "get", "cafile"]).trim();
  const authority = cafile === "null" ? "" : "cafile=/etc/ssl/certs/ca-certificates.crt\n";
  writeFileSync(`${directory}/npmrc`, `registry=${registry}\nprefer-offline=true\ncache=/npm\n${authority}`);
  const cache = must(["npm", "config", "get", "cache"]).trim();
  mkdirSync(cache, { recursive: true });
  const said = must([
    ...[...podman(directory), "build", "--isolation", "chroot", "--network", "host", "--layers=false"],
    ...["--build-arg", `BUILD_IMAGE=${baseName}`, ...limits.slice(0, 2)],
    ...["--volume", `${directory}/npmrc:/root/.npmrc:ro`],
    ...["--volume", `${cache}:/npm`, "-f", `${repository}/conf/Containerfile`, "-t", imageName, repository],
  ]);
  must([...podman(directory), "rmi", "--force", baseName]);
  return said;
}

/** Of the image, in bytes. */
export function imageBytes(directory: string): number {
  return Number(must([...podman(directory), "image", "inspect", "--format", "{{.Size}}", imageName]));
}

/** Paths of the image's files, without the leading slash. */
export function imageFiles(directory: string): string[] {
  const list = must([
    "sh",
    "-euc",
    'id=$("$@" create --network host --entrypoint /wg-cni "$0"); "$@" export "$id" | tar t; "$@" rm "$id" >/dev/null',
    imageName,
    ...podman(directory),
  ]);
  return list.trim().split("\n").sort();
}

// $0 is the directory that becomes a root: a shell, what the recipe calls, Node.js, npm, and their libraries.
const baseScript = `
  cd "$0"
  mkdir -p usr/bin usr/sbin usr/lib usr/lib64 etc/ssl/certs tmp root
  for directory in bin sbin lib lib64; do ln -s usr/$directory $directory; done
  for name in dash bash node cp mkdir ldd grep xargs uname dirname env; do
    program=$(readlink -f "$(command -v $name)")
    cp "$program" usr/bin/$name
    ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | xargs -r cp --parents --dereference --target-directory=. || true
  done
  ln -s dash usr/bin/sh
  npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
  cp -a "$npm" usr/lib/npm
  ln -s ../lib/npm/bin/npm-cli.js usr/bin/npm
  cp -L /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ || true
  echo root:x:0:0:root:/root:/bin/sh >etc/passwd`;

function must(command: readonly string[]): string {
  const done = Bun.spawnSync(["unshare", "--mount", "--", ...command], {
    cwd: repository,
    stdout: "pipe",
    stderr: "pipe",
    timeout: buildTimeoutMs,
  });
  if (done.exitCode === 0) return done.stdout.toString();
  const said = `${done.stderr}${done.stdout}`.trim().split("\n").slice(-20).join("\n");
  throw new Error(`"${command.slice(0, 12).join(" ")} …" ended with ${done.exitCode}: ${said}`);
}
