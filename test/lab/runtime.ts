// A container runtime's side of CNI, as libcni does it: every plugin of a
// .conflist in turn with the same environment, name and cniVersion, the result
// passed on as prevResult, DEL in reverse order from the cached result.
// Spec: CNI 1.0.0, sections 3 and 4.

import { existsSync, readFileSync } from "node:fs";
import { type Family, familyOf } from "../../src/net/ip.ts";
import type { Completed } from "./namespaces.ts";
import type { Node } from "./node.ts";
import { cniPath } from "./paths.ts";
import type { Pod } from "./pod.ts";

export interface PluginConf {
  type: string;
  capabilities?: Record<string, boolean>;
  [key: string]: unknown;
}

export interface ConfList {
  cniVersion: string;
  name: string;
  disableCheck?: boolean;
  plugins: PluginConf[];
}

export interface CniResult {
  cniVersion?: string;
  interfaces?: { name: string; mac?: string; sandbox?: string }[];
  ips?: { address: string; gateway?: string; interface?: number }[];
  routes?: { dst: string; gw?: string }[];
}

export interface AttachOptions {
  /** eth0 unless told. */
  readonly ifname?: string;
  /** CNI_ARGS */
  readonly args?: string;
  /** Handed to the plugins that declare the capability. */
  readonly runtimeConfig?: Readonly<Record<string, unknown>>;
  /** Further environment, for instance CNI_NETNS_OVERRIDE. */
  readonly env?: Readonly<Record<string, string>>;
  /** A directory of the node that plugins are taken from, and from nowhere else. */
  readonly binDir?: string;
}

export type Verb = "ADD" | "DEL" | "CHECK" | "STATUS" | "GC" | "VERSION";

/** The error that a plugin answered instead of a result. */
export class PluginError extends Error {
  override readonly name = "PluginError";
  readonly code: number | undefined;
  constructor(
    readonly verb: Verb,
    readonly type: string,
    readonly completed: Completed,
  ) {
    const json = parseJson(completed.stdout) as { code?: number; msg?: string; details?: string } | undefined;
    const text = json
      ? [json.msg, json.details].filter(Boolean).join(": ")
      : completed.stdout + completed.stderr;
    super(`${verb} of ${type} failed with code ${json?.code ?? "?"}: ${text.trim()}`);
    this.code = json?.code;
  }
}

/** Reads one of conf/, or any other file. */
export function readConfList(path: string): ConfList {
  return JSON.parse(readFileSync(path, "utf8")) as ConfList;
}

/** The same list without one plugin type. */
export function withoutPlugin(list: ConfList, type: string): ConfList {
  return { ...list, plugins: list.plugins.filter((plugin) => plugin.type !== type) };
}

/** Full path of a plugin that the repository or the machine has; throws if CNI_PATH has none. */
export function findPlugin(type: string): string {
  const directory = cniPath.find((path) => existsSync(`${path}/${type}`));
  if (!directory) throw new Error(`No plugin "${type}" in ${cniPath.join(", ")}`);
  return `${directory}/${type}`;
}

/** True in the second run of the plugin's tests (scripts/test.ts): a plugin server does the calls. */
export const isServed = process.env["PLUGIN_SERVER"] === "1";

export class Runtime {
  /** Results of ADD by network, container and interface: libcni's /var/lib/cni/results. */
  readonly cache = new Map<string, CniResult>();

  constructor(readonly node: Node) {}

  /** Runs the whole chain and returns its last result. Throws PluginError; the caller then owes a DEL. */
  async add(list: ConfList, pod: Pod, options: AttachOptions = {}): Promise<CniResult> {
    let result: CniResult | undefined;
    for (const plugin of list.plugins)
      result = (await this.must("ADD", list, plugin, pod, options, result)) as CniResult;
    if (result === undefined) throw new Error(`${list.name} has no plugins`);
    this.cache.set(cacheKey(list, pod, options), result);
    for (const { address } of result.ips ?? []) {
      const ip = address.slice(0, address.indexOf("/"));
      pod.ips[familyOf(ip) as Family] = ip;
    }
    return result;
  }

  /** In reverse order; repeatable. Throws PluginError at the first failure, as libcni does. */
  async del(list: ConfList, pod: Pod, options: AttachOptions = {}): Promise<void> {
    const key = cacheKey(list, pod, options);
    const previous = atLeast(list.cniVersion, "0.4.0") ? this.cache.get(key) : undefined;
    for (const plugin of list.plugins.toReversed())
      await this.must("DEL", list, plugin, pod, options, previous);
    this.cache.delete(key);
  }

  /** Throws PluginError if a plugin finds the attachment not as it left it. */
  async check(list: ConfList, pod: Pod, options: AttachOptions = {}): Promise<void> {
    if (list.disableCheck) return;
    const previous = this.cache.get(cacheKey(list, pod, options));
    if (!previous) throw new Error(`CHECK before ADD: no cached result for ${pod.label}`);
    for (const plugin of list.plugins) await this.must("CHECK", list, plugin, pod, options, previous);
  }

  /** One plugin, one verb, a failure as PluginError. Returns what it printed, parsed. */
  async must(
    verb: Verb,
    list: ConfList,
    plugin: PluginConf,
    pod: Pod | undefined,
    options: AttachOptions = {},
    previous?: CniResult,
  ): Promise<unknown> {
    const conf = pluginConf(list, plugin, options, previous);
    const completed = await this.plugin(verb, plugin.type, conf, pod, options);
    if (completed.exitCode !== 0) throw new PluginError(verb, plugin.type, completed);
    return completed.stdout.trim() === "" ? undefined : JSON.parse(completed.stdout);
  }

  /** One plugin with any text on standard input; never throws for its exit code. */
  async plugin(
    verb: Verb,
    type: string,
    stdin: string,
    pod: Pod | undefined,
    options: AttachOptions = {},
  ): Promise<Completed> {
    const CNI_PATH = options.binDir ?? this.node.cniPath.join(":");
    const env = { ...pluginEnv(verb, pod, options), CNI_PATH, ...options.env };
    if (isServed) await this.node.servePlugin();
    return this.node.run([this.#program(type, options)], { stdin, env, timeoutMs: 120_000 });
  }

  #program(type: string, { binDir }: AttachOptions): string {
    if (binDir !== undefined) return `${binDir}/${type}`;
    return type === "wg-cni" ? this.node.executable : findPlugin(type);
  }
}

/** The configuration one plugin gets, as text. */
export function pluginConf(
  list: ConfList,
  plugin: PluginConf,
  options: AttachOptions = {},
  previous?: CniResult,
): string {
  const { capabilities, ...rest } = plugin;
  const declared = Object.entries(options.runtimeConfig ?? {}).filter(([name]) => capabilities?.[name]);
  return JSON.stringify({
    ...rest,
    ...(capabilities && { capabilities }),
    name: list.name,
    cniVersion: list.cniVersion,
    ...(declared.length > 0 && { runtimeConfig: Object.fromEntries(declared) }),
    ...(previous && { prevResult: previous }),
  });
}

/** The CNI_* environment of one call. */
export function pluginEnv(
  verb: Verb,
  pod: { containerID: string; netns: string } | undefined,
  options: AttachOptions = {},
): Record<string, string> {
  const path = { CNI_COMMAND: verb, CNI_PATH: options.binDir ?? cniPath.join(":") };
  if (!pod) return path;
  return {
    ...path,
    CNI_CONTAINERID: pod.containerID,
    CNI_NETNS: pod.netns,
    CNI_IFNAME: options.ifname ?? "eth0",
    CNI_ARGS: options.args ?? "",
  };
}

function cacheKey(list: ConfList, pod: Pod, options: AttachOptions): string {
  return `${list.name} ${pod.containerID} ${options.ifname ?? "eth0"}`;
}

function atLeast(version: string, minimum: string): boolean {
  return version.localeCompare(minimum, "en", { numeric: true }) >= 0;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
