// The bill of materials of a release, in CycloneDX. npm makes one of everything in the lock file; this keeps
// what is in the executable, and replaces what differs between two runs: the time and the serial number.
import { createHash } from "node:crypto";
import type { Component } from "./components.ts";

interface BomComponent {
  readonly "bom-ref": string;
  readonly type: string;
  readonly name: string;
  readonly version: string;
  readonly [field: string]: unknown;
}

export interface Bom {
  readonly serialNumber: string;
  readonly metadata: { readonly component: BomComponent; readonly [field: string]: unknown };
  readonly components: readonly BomComponent[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

/** Asks npm, which reads the lock file and no network. */
export function readNpmBom(root: string): Bom {
  const command = ["npm", "sbom", "--package-lock-only", "--sbom-format=cyclonedx", "--omit=dev"];
  const done = Bun.spawnSync(command, { cwd: root, stdout: "pipe", stderr: "pipe" });
  if (done.exitCode !== 0)
    throw new Error(`\`${command.join(" ")}\` failed (npm 10 or newer is needed): ${done.stderr}`);
  return JSON.parse(done.stdout.toString()) as Bom;
}

/** A Debian package, some files of which are in the image. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

/** Throws an Error if npm's bill lacks one of the components. */
export function makeBom(
  bom: Bom,
  components: readonly Component[],
  debian: readonly DebianPackage[],
  time: Date,
): Bom {
  const refs = components.map(({ name, version }) => `${name}@${version}`);
  const kept = refs.map((ref) => {
    const found = bom.components.find((one) => one["bom-ref"] === ref);
    if (found === undefined) throw new Error(`npm's bill of materials has no ${ref}`);
    return found;
  });
  const { component } = bom.metadata;
  const all = [component["bom-ref"], ...refs];
  const dependencies = bom.dependencies
    .filter(({ ref }) => all.includes(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => all.includes(one)) }));
  const { timestamp: _, tools: __, ...metadata } = bom.metadata;
  const body = {
    metadata: {
      timestamp: time.toISOString(),
      ...metadata,
      component: { ...component, type: "application", name: "wg-cni" },
    },
    components: [...kept, ...debian.map(debianComponent)],
    dependencies,
  };
  return { ...bom, ...body, serialNumber: serialOf(JSON.stringify(body)) };
}

function debianComponent({ name, version, architecture }: DebianPackage): BomComponent {
  const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { "bom-ref": purl, type: "library", name, version, purl, description: "in the image only" };
}

/** Makes a UUID of a text, in the form of version 8 (RFC 9562). */
function serialOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`];
  return `urn:uuid:${[...parts, hex.slice(20, 32)].join("-")}`;
}
