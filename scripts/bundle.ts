// Bundles the sources with esbuild: the files of which Bun's compiler makes the executable. Same sources, same bytes.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";

const root = resolve(import.meta.dir, "..");

/** The files that the CNI path imports only when it needs them. */
const onDemand = [
  "src/cli/run.ts",
  "src/cni/unexpected.ts",
  "src/reconcile/repair.ts",
  "src/reconcile/pod-firewall.ts",
];
/** Each of these becomes one file, whole, with all that it imports otherwise. The second does a call that no server takes. */
const whole = ["src/main.ts", "src/cni/main.ts"];

/**
 * The CNI path becomes two files, each whole: a split one costs 1.5 ms more at
 * every call, since each chunk is a module to link. The files that it loads on demand
 * are a bundle with chunks of its own. Each has copies of the shared code: only
 * plain values and functions cross between them. Returns the paths of the files whose code is in the result.
 */
export async function bundle(outdir: string): Promise<readonly string[]> {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const options = {
    absWorkingDir: root,
    bundle: true,
    minify: true,
    platform: "node",
    target: "esnext",
    format: "esm",
    external: ["bun:*"],
    // Names of chunks are made of paths, which must not say where a link leads.
    preserveSymlinks: true,
    // The Kubernetes client's HTTP library: only its configuration is used, requests are the runtime's (8 MB of memory).
    alias: { undici: join(root, "scripts/no-undici.ts") },
    define: { WG_CNI_VERSION: JSON.stringify(version), WG_CNI_BUILD: JSON.stringify(digestOfSources()) },
    outdir,
    metafile: true,
    logLevel: "warning",
  } satisfies BuildOptions;
  const entries = (paths: readonly string[]) =>
    Object.fromEntries(paths.map((path) => [chunkName(path), join(root, path)]));
  const results = [
    await build({ ...options, entryPoints: entries(whole), plugins: [leaveOut([...whole, ...onDemand])] }),
    await build({ ...options, entryPoints: entries(onDemand), splitting: true }),
  ];
  const used = results.flatMap(({ metafile }) =>
    Object.values(metafile.outputs).flatMap(({ inputs }) =>
      Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
    ),
  );
  return [...new Set(used)].sort();
}

/** Differs for builds of different sources, also of one version. */
function digestOfSources(): string {
  const hash = createHash("sha256");
  for (const path of [...new Bun.Glob("src/**/*.ts").scanSync(root), "package-lock.json"].sort())
    hash.update(`${path}\n`).update(readFileSync(join(root, path)));
  return hash.digest("hex").slice(0, 16);
}

function chunkName(path: string): string {
  return path.slice("src/".length).replace("/", "-").replace(/\.ts$/, "");
}

/** Dynamic imports of `paths` stay imports, of the second bundle's files; any other is a mistake. */
function leaveOut(paths: readonly string[]): Plugin {
  return {
    name: "leave-out",
    setup: ({ onResolve }) => {
      onResolve({ filter: /\.ts$/ }, ({ kind, path, resolveDir }) => {
        if (kind !== "dynamic-import") return undefined;
        const name = relative(root, join(resolveDir, path));
        if (!paths.includes(name))
          throw new Error(`${name} is imported on demand: add it to onDemand in scripts/bundle.ts`);
        return { path: `./${chunkName(name)}.js`, external: true };
      });
    },
  };
}
