// The environment variables that wg-cni reads, for the reference pages. The
// sources are searched for variables, so a variable without a row is an error.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { code } from "./markdown.ts";

interface Variable {
  readonly of: "cli" | "cni";
  readonly meaning: string;
}

const variables: Readonly<Record<string, Variable>> = {
  CNI_COMMAND: {
    of: "cni",
    meaning: "The verb: ADD, DEL, CHECK, STATUS, GC or VERSION. Its presence makes wg-cni a plugin.",
  },
  CNI_CONTAINERID: { of: "cni", meaning: "The container. ADD, DEL and CHECK need it." },
  CNI_NETNS: {
    of: "cni",
    meaning: "Path of the pod's network namespace. ADD and CHECK need it; DEL works without it.",
  },
  CNI_IFNAME: { of: "cni", meaning: "Name of the pod's interface. ADD, DEL and CHECK need it." },
  CNI_PATH: {
    of: "cni",
    meaning:
      "Directories of plugins, in which a delegated IPAM plugin is found. All verbs but VERSION need it.",
  },
  CNI_ARGS: {
    of: "cni",
    meaning:
      "`KEY=VALUE` pairs with semicolons between them: `IP`, `MAC` and `IgnoreUnknown`. Other keys are refused unless `IgnoreUnknown=1`.",
  },
  CNI_NETNS_OVERRIDE: {
    of: "cni",
    meaning: "`1` or `true` allows a CNI_NETNS that is the plugin's own network namespace.",
  },
  NODE_NAME: { of: "cli", meaning: "`agent --kubernetes`: the Node's name, if `--node` is not given." },
  KUBECONFIG: { of: "cli", meaning: "`rollout`: the kubeconfig file, if `--kubeconfig` is not given." },
  KUBERNETES_SERVICE_HOST: {
    of: "cli",
    meaning: "Address of the API server for `--kubeconfig in-cluster`; Kubernetes sets it in each pod.",
  },
  KUBERNETES_SERVICE_PORT: { of: "cli", meaning: "Its port." },
  NOTIFY_SOCKET: { of: "cli", meaning: "`agent`: the socket for readiness; systemd sets it." },
  WATCHDOG_USEC: { of: "cli", meaning: "`agent`: period of systemd's watchdog; systemd sets it." },
  PATH: {
    of: "cli",
    meaning: "Where a userspace WireGuard implementation (`wireguard-go`, `boringtun`) is searched for.",
  },
  NO_COLOR: { of: "cli", meaning: "If it is not empty, output has no colours." },
  TERM: { of: "cli", meaning: "`dumb` means no colours." },
};

const reads = [/\benv\.([A-Z][A-Z_]+)/g, /\benv\["([A-Z][A-Z_]+)"\]/g];
const destructures = /\{ ([A-Z_, ]+) \} = process\.env/g;

/** Rows of name and meaning. Throws Error if the sources read other variables than the table has. */
export function describeEnvironment(root: string, of: Variable["of"]): string[][] {
  const inCode = readVariables(root);
  const missing = [...inCode].filter((name) => variables[name] === undefined);
  const stale = Object.keys(variables).filter((name) => !inCode.has(name));
  if (missing.length + stale.length > 0)
    throw new Error(
      `scripts/pages/environment.ts has no row for ${missing.join(", ") || "none"}, and src does not read ${stale.join(", ") || "none"}`,
    );
  return Object.entries(variables)
    .filter(([, variable]) => variable.of === of)
    .map(([name, { meaning }]) => [code(name), meaning]);
}

function readVariables(root: string): Set<string> {
  const names = new Set<string>();
  for (const file of new Bun.Glob("src/**/*.ts").scanSync(root)) {
    const text = readFileSync(join(root, file), "utf8");
    for (const pattern of reads) for (const [, name] of text.matchAll(pattern)) names.add(name as string);
    for (const [, list] of text.matchAll(destructures))
      for (const name of (list as string).split(", ")) names.add(name);
  }
  return names;
}
