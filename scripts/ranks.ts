// Checks which directory of src imports which: dependencies point one way only, no
// files import each other in a circle, each kind of effect has one home, and
// nothing that slows a CNI call's start is reachable from src/cni by static
// imports. Reads the sources, runs nothing.
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
/** The directories of decisions, from independent ones to those that use others. `plan` itself has the Step, their common output. */
const plans = [
  "plan",
  "plan/settings",
  "plan/records",
  "plan/firewall",
  "plan/host",
  "plan/peers",
  "plan/keys",
  "plan/mesh",
  "plan/pods",
  "plan/report",
];
const pure = [...bottom, ...plans, "ipam", "state", "kube"];
const kernel = [...bottom, "linux", "wire", "netlink", "netlink/nft", "wireguard"];
const effects = [...pure, ...kernel, "reconcile"];
const services = [...effects, "doctor", "install"];
const outside = [...services, "fswatch", "kubeclient", "telemetry"];
const allSources = ["sources", "sources/kube", "sources/directory"];

/**
 * Directory of src -> directories that it may import beside itself: only those above it here, so that
 * there is no circle of directories. A directory that is not here is refused. A file of src itself, and
 * `cni/main`, which the other files of its directory do not import, count as directories of their own.
 */
const mayImport: Record<string, readonly string[]> = {
  net: [],
  linux: bottom,
  wire: bottom,
  ...below("plan", "plan/settings", "plan/firewall"),
  "plan/records": [...bottom, "plan"],
  "plan/host": [...bottom, "plan", "plan/settings"],
  "plan/peers": [...bottom, "plan/settings"],
  "plan/keys": [...bottom, "plan/settings", "plan/peers"],
  "plan/mesh": [...bottom, "plan", "plan/settings", "plan/firewall", "plan/host", "plan/peers"],
  "plan/pods": [...bottom, "plan", "plan/settings", "plan/firewall", "plan/peers", "plan/mesh"],
  // The report for people depends on all of the above.
  "plan/report": [...bottom, "plan/settings", "plan/firewall", "plan/peers", "plan/mesh"],
  ipam: bottom,
  // One judge decides about records, wherever they come from.
  kube: [...bottom, ...plans],
  // The database's directory and the key file are reached by the syscalls.
  state: [...bottom, "linux"],
  netlink: [...bottom, "linux", "wire"],
  "netlink/nft": [...bottom, "linux", "wire", "netlink"],
  // Generic netlink uses the sockets of netlink.
  wireguard: [...bottom, "linux", "wire", "netlink"],
  reconcile: [...pure, ...kernel],
  doctor: effects,
  install: effects,
  fswatch: [...bottom, "linux"],
  kubeclient: [...bottom, "linux", "kube", "fswatch"],
  telemetry: effects,
  sources: outside,
  "sources/kube": [...outside, "sources"],
  "sources/directory": [...outside, "sources"],
  agent: [...outside, ...allSources],
  cni: services,
  "cni/verbs": [...services, "cni"],
  "cni/main": [...services, "cni", "cni/verbs"],
  // Plugin processes load it last of all; the server has it loaded.
  serve: [...services, "telemetry", "cni", "cni/verbs", "cni/main"],
  // `wg-cni agent` is a subcommand.
  cli: [...outside, ...allSources, "agent", "serve"],
  main: [...services, "cni", "cni/main", "cli"],
};

function below(...directories: string[]): Record<string, readonly string[]> {
  return Object.fromEntries(directories.map((directory) => [directory, bottom]));
}

/** Directory -> the only one of its files that other directories may import. */
const entryOf: Record<string, string> = { agent: "agent/loop.ts" };

/** Module -> the only directory that may import it. */
const onlyIn: Record<string, string> = { "bun:ffi": "linux", "bun:sqlite": "state" };

/** Package -> the only directory that may load it, and only by import(): 20 MB that most agents and all commands do without. */
const onlyOnDemandIn: Record<string, string> = { "@kubernetes/client-node": "kubeclient" };

/** Every call of the plugin loads these: a node:* module costs 0.4 to 2.5 ms of it. */
const cniPath = [...kernel, ...plans, "reconcile", "ipam", "state", "cni", "cni/verbs", "cni/main"];

/** Returns the complaints about the sources under `root`/src, sorted; the list is empty if there are none. */
export function checkRanks(root: string): string[] {
  const source = join(root, "src");
  const files = [...new Bun.Glob("**/*.ts").scanSync(source)].sort();
  const imports = files.flatMap((file) => importsOf(source, file));
  const complaints = [...backEdges(), ...imports.flatMap(complaintsAbout), ...circles(imports)];
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

/** Returns a path below src for our own files, the specifier itself for modules. */
function locate(source: string, file: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  return `./${relative(source, resolve(source, dirname(file), specifier))}`;
}

function complaintsAbout({ file, target, typeOnly, lazy }: Import): string[] {
  const from = directoryOf(file);
  const allowed = mayImport[from];
  if (allowed === undefined)
    return [`src/${file}: the directory "${from}" has no rank: give it one in scripts/ranks.ts`];
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
  const to = directoryOf(target.slice(2));
  const entry = entryOf[to];
  if (to !== from && entry !== undefined && target !== `./${entry}`)
    return [`src/${file}: imports src/${target.slice(2)}, but of src/${to} only src/${entry}`];
  if (to === from || allowed.includes(to)) return [];
  return [
    `src/${file}: imports src/${target.slice(2)}, but ${from} may import only ${allowed.join(", ") || "itself"}`,
  ];
}

/** src/plan/mesh/diff.ts -> plan/mesh; src/main.ts -> main. */
function directoryOf(file: string): string {
  const slash = file.lastIndexOf("/");
  return slash < 0 || file === "cni/main.ts" ? file.replace(/\.ts$/, "") : file.slice(0, slash);
}

/** Finds directories that may import one that is not above them in the table, so that the table itself has no circle. */
function backEdges(): string[] {
  const order = Object.keys(mayImport);
  return order.flatMap((directory, rank) =>
    (mayImport[directory] ?? [])
      .filter((target) => order.indexOf(target) >= rank)
      .map((target) => `scripts/ranks.ts: "${directory}" may import "${target}", which stands below it`),
  );
}

/** Finds circles of files, types included: each file that is reached from itself, with the path. */
function circles(imports: readonly Import[]): string[] {
  const targets = Map.groupBy(imports, ({ file }) => file);
  const complaints: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): void => {
    const at = way.indexOf(file);
    if (at >= 0) complaints.push(`an import circle: ${[...way.slice(at), file].join(" -> ")}`);
    if (at >= 0 || done.has(file)) return;
    for (const { target } of targets.get(file) ?? [])
      if (target.startsWith("./")) visit(target.slice(2), [...way, file]);
    done.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
  return complaints;
}

/** Finds modules and packages that loading src/cni loads, too, with the path to them. */
function slowImports(files: readonly string[], imports: readonly Import[]): string[] {
  const complaints: string[] = [];
  const cameFrom = new Map<string, string | undefined>();
  for (const file of files) if (directoryOf(file).startsWith("cni")) cameFrom.set(file, undefined);
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
  if (!existsSync(join(root, "src"))) throw new Error("there is no src directory");
  const complaints = checkRanks(root);
  for (const complaint of complaints) console.log(complaint);
  process.exitCode = complaints.length === 0 ? 0 : 1;
}
