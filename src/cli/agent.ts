// `agent` runs until a signal stops it. A lock allows one agent for each state store; the kernel
// releases it however the process ends.
import { Agent } from "../agent/loop.ts";
import { inCluster } from "../kubeclient/credentials.ts";
import { readText } from "../linux/file.ts";
import { tryLock } from "../linux/lock.ts";
import { ParseError } from "../net/error.ts";
import { parseNodeName } from "../plan/records/record.ts";
import { parseSettings, settingNames } from "../plan/settings/settings.ts";
import { isOfOtherMachine } from "../reconcile/other-machine.ts";
import { PluginServerKeeper } from "../serve/keeper.ts";
import type { JsonValue } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import { type Level, Log, type LogFormat } from "../telemetry/log.ts";
import { Notifier, watchdogPeriodMs } from "../telemetry/sd-notify.ts";
import { type Context, findValue, type Given, type Output, UsageError } from "./command.ts";
import { Leaving, rejoin } from "./leave.ts";
import { readOverrides, refuseFixed } from "./overrides.ts";
import { openSession } from "./session.ts";

const levels: readonly Level[] = ["debug", "info", "warn", "error"];
const formats: readonly LogFormat[] = ["text", "json"];

export async function agent(context: Context): Promise<Output> {
  const { given, stderr } = context;
  const log = new Log({
    level: choose(findValue(given, "log-level") ?? "info", levels, "--log-level"),
    format: choose(findValue(given, "log-format") ?? "text", formats, "--log-format"),
    write: stderr,
    now: () => new Date().toISOString(),
  });
  try {
    return await run(context, log);
  } catch (error) {
    if (error instanceof UsageError || error instanceof ParseError || !(error instanceof Error)) throw error;
    // A program that reads the log as JSON reads this line too.
    log.error(error.message);
    return { json: { error: error.message }, text: () => "", exitCode: 1 };
  }
}

async function run(context: Context, log: Log): Promise<Output> {
  const { given, stateDir, version } = context;
  using session = openSession(context);
  using _lock = lockStore(stateDir);
  const leaving = given.switches.has("leave") ? new Leaving() : undefined;
  const node = readNodeName(given);
  putSettings(session.store, given);
  if (node === undefined) warnOfOtherMachine(session.store, log);
  if (leaving === undefined) rejoin(session.store);
  const notifier = new Notifier(process.env["NOTIFY_SOCKET"]);
  const onReconciled = (problem: string | undefined) =>
    notifier.send("READY=1", `STATUS=${problem ?? "the mesh is as the store says"}`);
  using running = new Agent(session, {
    ...{ stateDir, version, log, onReconciled, wallClock: Date.now },
    // A node that leaves needs no identity, and is not given one.
    ...(leaving !== undefined ? { leaving: () => leaving.problem } : node === undefined ? {} : { node }),
  });
  // Before the first pass, which takes a while: the first process of a container is not ended by a signal that it does not handle.
  const stopped = stopSignal(log);
  // It gets ready, and serves, while the first pass programs thousands of peers.
  using _plugin = leaving === undefined ? keepPluginServer(stateDir, log) : undefined;
  running.start();
  void leaving?.leave(context, running, log);
  using _watchdog = feedWatchdog(notifier, () => running.isAlive);
  const signal = await stopped;
  notifier.send("STOPPING=1");
  log.info("stopping; the mesh stays as it is", { signal });
  return { json: { signal }, text: () => "" };
}

/** Plugin processes have it do their calls. A node that leaves gets no more pods. */
function keepPluginServer(stateDir: string, log: Log): Disposable {
  const keeper = new PluginServerKeeper({ stateDir, log, now: () => performance.now() });
  keeper.start();
  return keeper;
}

/** A Node of Kubernetes belongs to one machine; a node that `up` has named may have been copied. */
function warnOfOtherMachine(store: Store, log: Log): void {
  const identity = store.identity();
  if (identity === undefined || !isOfOtherMachine(identity)) return;
  log.warn("this state was made on another machine, which may use its keys as well: see `wg-cni doctor`", {
    node: identity.name,
  });
}

function lockStore(stateDir: string): Disposable {
  // A process that only checks whether there is an agent holds the lock for an instant.
  for (const waitMs of [10, 50, 200, 0]) {
    const lock = tryLock(`${stateDir}/agent.lock`);
    if (lock !== undefined) return lock;
    Bun.sleepSync(waitMs);
  }
  throw new Error(
    `Another agent has the store ${stateDir}: one store has one agent. Stop that one, or give --state-dir.`,
  );
}

/** Returns the name of the Node that the identity comes from, or undefined if `up` has given the node one. */
function readNodeName(given: Given): string | undefined {
  const typed = findValue(given, "node");
  if (given.switches.has("kubernetes")) {
    const name =
      typed ?? process.env["NODE_NAME"] ?? readText("/proc/sys/kernel/hostname").trim().toLowerCase();
    return parseNodeName(name, typed === undefined ? "this node's name (--node)" : "--node");
  }
  if (typed !== undefined)
    throw new UsageError("--node goes with --kubernetes; else `wg-cni up` names the node");
  return undefined;
}

/** Stores the settings that were typed, as `up` does; --kubernetes alone means the cluster of this pod. */
function putSettings(store: Store, given: Given): void {
  const stored = store.settings();
  const overrides = readOverrides(given, stored);
  if (given.switches.has("kubernetes") && !overrides["kubeconfig"]) overrides["kubeconfig"] = inCluster;
  const settings = parseSettings(overrides);
  if (store.identity()?.up) refuseFixed(parseSettings(stored), settings);
  store.transaction(() => {
    for (const name of settingNames) store.putSetting(name, overrides[name] as JsonValue | undefined);
  });
}

/** The watchdog fires if a pass hangs, which stops all timers, and if no more passes run. */
function feedWatchdog(notifier: Notifier, isAlive: () => boolean): Disposable {
  const period = watchdogPeriodMs(process.env["WATCHDOG_USEC"]);
  const feed = () => {
    if (isAlive()) notifier.send("WATCHDOG=1");
  };
  const timer = period === undefined ? undefined : setInterval(feed, period);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Resolves at SIGTERM or SIGINT. SIGUSR1 switches debug lines on and off. */
function stopSignal(log: Log): Promise<string> {
  process.on("SIGUSR1", () => log.toggleDebug());
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => resolve(name));
  return promise;
}

function choose<T extends string>(text: string, choices: readonly T[], flag: string): T {
  if (choices.includes(text as T)) return text as T;
  throw new UsageError(`${flag}: "${text}" is not one of ${choices.join(", ")}`);
}
