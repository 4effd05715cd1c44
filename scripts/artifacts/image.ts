// The image for both architectures, as an archive in the OCI's layout, which podman, skopeo, containerd and docker
// read. It has the same files as the image that conf/Containerfile builds, and the licences.
//
//   index.json -> the index of the image -> a manifest for each architecture -> its configuration and one layer
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, realpathSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Arch } from "../engine-options.ts";
import type { Platform, Release } from "./parts.ts";
import { compress, Tree } from "./tree.ts";

/** The files of the C library that the executable loads, below the directory that the loader searches. */
const libraries: readonly string[] = ["libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"];
const loaders: Readonly<Record<Arch, { readonly loader: string; readonly directory: string }>> = {
  x64: { loader: "lib64/ld-linux-x86-64.so.2", directory: "lib/x86_64-linux-gnu" },
  arm64: { loader: "lib/ld-linux-aarch64.so.1", directory: "lib/aarch64-linux-gnu" },
};
const documents = "usr/share/doc";

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly [field: string]: unknown;
}

export function makeImage(
  release: Release,
  platforms: readonly Platform[],
  work: string,
  target: string,
): void {
  mkdirSync(work, { recursive: true });
  const layout = new Tree(join(work, "layout"));
  const manifests = platforms.map((platform) => putManifest(layout, release, platform, work));
  const image = putJson(layout, "application/vnd.oci.image.index.v1+json", { schemaVersion: 2, manifests });
  const name = `wg-cni:${release.version}`;
  // Podman and skopeo read the first name, containerd and docker the second.
  const annotations = {
    "org.opencontainers.image.ref.name": name,
    "io.containerd.image.name": `localhost/${name}`,
  };
  layout.put("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  layout.put("index.json", JSON.stringify({ schemaVersion: 2, manifests: [{ ...image, annotations }] }));
  layout.pack(target, release.epochSeconds);
}

function putManifest(layout: Tree, release: Release, platform: Platform, work: string): Descriptor {
  const { architecture } = platform;
  const plain = join(work, `layer-${architecture}.tar`);
  makeLayer(release, platform, join(work, `layer-${architecture}`)).pack(plain, release.epochSeconds);
  const diffId = digestOf(readFileSync(plain));
  const layer = putFile(layout, plain);
  const created = new Date(release.epochSeconds * 1000).toISOString();
  const config = putJson(layout, "application/vnd.oci.image.config.v1+json", {
    created,
    architecture,
    os: "linux",
    config: { Entrypoint: ["/wg-cni"], Labels: labelsOf(release) },
    rootfs: { type: "layers", diff_ids: [diffId] },
    history: [{ created, created_by: `wg-cni and libc6 ${platform.libcPackage.version} of Debian` }],
  });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = putJson(layout, mediaType, { schemaVersion: 2, mediaType, config, layers: [layer] });
  return { ...manifest, platform: { architecture, os: "linux" } };
}

/** Libraries are files, where the loader looks for them: links would lead out of the image. */
function makeLayer(release: Release, { arch, executable, libc }: Platform, directory: string): Tree {
  const tree = new Tree(directory);
  const { loader, directory: searched } = loaders[arch];
  tree.put("wg-cni", { file: executable }, 0o755);
  // In the package the loader is a link, in some versions an absolute one.
  const loaderFile = join(searched, loader.slice(loader.lastIndexOf("/") + 1));
  tree.put(loader, { file: realpathSync(join(libc, loaderFile)) }, 0o755);
  for (const name of libraries)
    tree.put(join(searched, name), { file: realpathSync(join(libc, searched, name)) }, 0o755);
  tree.put(`${documents}/libc6/copyright`, { file: join(libc, documents, "libc6/copyright") });
  tree.put(`${documents}/wg-cni/LICENSE`, { file: join(release.root, "LICENSE") });
  tree.put(`${documents}/wg-cni/THIRD-PARTY`, release.thirdParty);
  return tree;
}

function labelsOf({ description, license, version }: Release): Record<string, string> {
  const prefix = "org.opencontainers.image";
  return {
    [`${prefix}.title`]: "wg-cni",
    [`${prefix}.description`]: description,
    [`${prefix}.licenses`]: license,
    [`${prefix}.version`]: version,
  };
}

function putJson(layout: Tree, mediaType: string, value: object): Descriptor {
  const text = JSON.stringify(value);
  const digest = digestOf(text);
  layout.put(blobPath(digest), text);
  return { mediaType, digest, size: Buffer.byteLength(text) };
}

/** Takes a layer, compressed. */
function putFile(layout: Tree, plain: string): Descriptor {
  const compressed = `${plain}.gz`;
  compress(plain, compressed);
  const bytes = readFileSync(compressed);
  const digest = digestOf(bytes);
  mkdirSync(join(layout.directory, "blobs/sha256"), { recursive: true });
  renameSync(compressed, join(layout.directory, blobPath(digest)));
  return { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size: bytes.length };
}

function digestOf(content: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(content).digest("hex")}`;
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}
