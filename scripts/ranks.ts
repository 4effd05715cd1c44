// Checks who imports whom in src: dependencies point down only, each kind of
// effect has one home, and nothing that slows a CNI call's start is reachable
// from src/cni by static imports. Reads the sources, runs nothing.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

interface Import {
  readonly file: string;
  readonly target: string;
  /** Type-only imports cost nothing at run time, but still couple. */
  readonly typeOnly: boolean;
  /** import(), loaded when it is reached. */
  readonly lazy: boolean;
}

const bottom = ["net"];
const pure = [...bottom, "plan", "ipam", "state", "kube"];
const kernel = [...bottom, "linux", "wire", "netlink", "wireguard"];
const effects = [...pure, ...kernel, "reconcile"];
const services = [...effects, "doctor", "install"];

/** Folder of src -> folders it may import beside itself. A folder that is not here is refused. */
const mayImport: Record<string, readonly string[]> = {
  net: [],
  linux: bottom,
  wire: bottom,
  plan: bottom,
  ipam: bottom,
  // What a record may say has one judge, wherever the record comes from.
  kube: [...bottom, "plan"],
  // The database's folder and the key file are reached by the syscalls.
  state: [...bottom, "linux"],
  netlink: [...bottom, "linux", "wire"],
  // Generic netlink is a conversation as rtnetlink's is.
  wireguard: [...bottom, "linux", "wire", "netlink"],
  reconcile: [...pure, ...kernel],
  doctor: effects,
  install: effects,
  cni: services,
  // `wg-cni agent` is a subcommand.
  cli: [...services, "agent"],
  agent: services,
  main: [...services, "cni", "cli", "agent"],
};

/** Module -> the only folder that may import it. */
const onlyIn: Record<string, string> = { "bun:ffi": "linux", "bun:sqlite": "state" };

/** Package -> the only folder that may load it, and only by import(): 20 MB that most agents and all commands do without. */
const onlyOnDemandIn: Record<string, string> = { "@kubernetes/client-node": "agent" };

/** Every call of the plugin loads these: a node:* module costs 0.4 to 2.5 ms of it. */
const cniPath = ["net", "wire", "linux", "netlink", "wireguard", "plan", "reconcile", "ipam", "state", "cni"];

/** The complaints about the sources under `root`/src, sorted; empty when all is well. */
export function checkRanks(root: string): string[] {
  const source = join(root, "src");
  const files = [...new Bun.Glob("**/*.ts").scanSync(source)].sort();
  const imports = files.flatMap((file) => importsOf(source, file));
  const complaints = imports.flatMap(complaintsAbout);
  complaints.push(...slowImports(files, imports));
  return complaints.sort();
}

function importsOf(source: string, file: string): Import[] {
  const text = readFileSync(join(source, file), "utf8");
  const statement = /^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
  const call = /\bimport\(\s*"([^"]+)"\s*\)/g;
  const found: Import[] = [];
  for (const [, type, specifier] of text.matchAll(statement)) {
    found.push({ file, target: locate(source, file, specifier!), typeOnly: type !== undefined, lazy: false });
  }
  for (const [, specifier] of text.matchAll(call)) {
    found.push({ file, target: locate(source, file, specifier!), typeOnly: false, lazy: true });
  }
  return found;
}

/** A path below src for our own files, the specifier itself for modules. */
function locate(source: string, file: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  return `./${relative(source, resolve(source, dirname(file), specifier))}`;
}

function complaintsAbout({ file, target, typeOnly, lazy }: Import): string[] {
  const from = folderOf(file);
  const allowed = mayImport[from];
  if (allowed === undefined)
    return [`src/${file}: the folder "${from}" has no rank: give it one in scripts/ranks.ts`];
  const home = onlyIn[target];
  if (home !== undefined && home !== from)
    return [`src/${file}: imports ${target}, which only src/${home} may`];
  const lazyPackage = Object.keys(onlyOnDemandIn).find((name) => target.startsWith(name));
  if (lazyPackage !== undefined && !typeOnly && (!lazy || onlyOnDemandIn[lazyPackage] !== from))
    return [`src/${file}: loads ${target}, which only src/${onlyOnDemandIn[lazyPackage]} may, by import()`];
  if (target.startsWith("node:") && cniPath.includes(from)) {
    return [
      `src/${file}: imports ${target}; src/${from} is on the path of every CNI call, where it costs start-up time`,
    ];
  }
  if (!target.startsWith("./")) return [];
  const to = folderOf(target.slice(2));
  if (to === from || allowed.includes(to)) return [];
  return [
    `src/${file}: imports src/${target.slice(2)}, but ${from} may import only ${allowed.join(", ") || "itself"}`,
  ];
}

/** src/plan/diff.ts -> plan; src/main.ts -> main. */
function folderOf(file: string): string {
  const slash = file.indexOf("/");
  return slash < 0 ? file.replace(/\.ts$/, "") : file.slice(0, slash);
}

/** Modules and packages that loading src/cni loads too, with the way there. */
function slowImports(files: readonly string[], imports: readonly Import[]): string[] {
  const complaints: string[] = [];
  const cameFrom = new Map<string, string | undefined>();
  for (const file of files) if (folderOf(file) === "cni") cameFrom.set(file, undefined);
  for (const file of cameFrom.keys()) {
    for (const { target } of imports.filter((one) => one.file === file && !one.typeOnly && !one.lazy)) {
      if (target.startsWith("./")) {
        if (!cameFrom.has(target.slice(2))) cameFrom.set(target.slice(2), file);
      } else if (!target.startsWith("bun:")) {
        complaints.push(`src/cni loads ${target} at every call: ${wayTo(file, cameFrom)} -> ${target}`);
      }
    }
  }
  return complaints;
}

function wayTo(file: string, cameFrom: ReadonlyMap<string, string | undefined>): string {
  const before = cameFrom.get(file);
  return before === undefined ? file : `${wayTo(before, cameFrom)} -> ${file}`;
}

if (import.meta.main) {
  const root = resolve(import.meta.dir, "..");
  if (!existsSync(join(root, "src"))) throw new Error("there is no src folder");
  const complaints = checkRanks(root);
  for (const complaint of complaints) console.log(complaint);
  process.exitCode = complaints.length === 0 ? 0 : 1;
}
