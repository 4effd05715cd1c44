// `agent`: runs until it is told to stop. One a state store, by a lock that the
// kernel releases however the process ends.
import { Agent } from "../agent/agent.ts";
import { type Level, Log, type LogFormat } from "../agent/log.ts";
import { Notifier, watchdogPeriodMs } from "../agent/notify.ts";
import { tryLock } from "../linux/lock.ts";
import { type Context, findValue, type Output, UsageError } from "./command.ts";
import { openSession } from "./session.ts";

const levels: readonly Level[] = ["debug", "info", "warn", "error"];
const formats: readonly LogFormat[] = ["text", "json"];

export async function agent(context: Context): Promise<Output> {
  const { given, stateDir, stderr, version } = context;
  const log = new Log({
    level: choose(findValue(given, "log-level") ?? "info", levels, "--log-level"),
    format: choose(findValue(given, "log-format") ?? "text", formats, "--log-format"),
    write: stderr,
    now: () => new Date().toISOString(),
  });
  using session = openSession(context);
  using _lock = lockStore(stateDir);
  const notifier = new Notifier(process.env["NOTIFY_SOCKET"]);
  const onLook = (problem: string | undefined) =>
    notifier.send("READY=1", `STATUS=${problem ?? "the mesh is as the store says"}`);
  using running = new Agent(session, { stateDir, version, log, onLook, wallClock: Date.now });
  running.start();
  const signal = await stopSignal(log, notifier);
  notifier.send("STOPPING=1");
  log.info("stopping; the mesh stays as it is", { signal });
  return { json: { signal }, text: () => "" };
}

function lockStore(stateDir: string): Disposable {
  const lock = tryLock(`${stateDir}/agent.lock`);
  if (lock === undefined)
    throw new Error(
      `Another agent has the store ${stateDir}: one store has one agent. Stop that one, or give --state-dir.`,
    );
  return lock;
}

/** Resolves at SIGTERM or SIGINT. SIGUSR1 switches debug lines on and off. */
async function stopSignal(log: Log, notifier: Notifier): Promise<string> {
  const period = watchdogPeriodMs(process.env["WATCHDOG_USEC"]);
  const watchdog = period === undefined ? undefined : setInterval(() => notifier.send("WATCHDOG=1"), period);
  process.on("SIGUSR1", () => log.toggleDebug());
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => resolve(name));
  const signal = await promise;
  clearInterval(watchdog);
  return signal;
}

function choose<T extends string>(text: string, choices: readonly T[], flag: string): T {
  if (choices.includes(text as T)) return text as T;
  throw new UsageError(`${flag}: "${text}" is not one of ${choices.join(", ")}`);
}
