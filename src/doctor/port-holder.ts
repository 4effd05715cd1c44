// `findPortHolder` finds the process that holds a UDP port, as far as /proc shows it. It
// reads the open files of every process, so it is called only for a port known to be taken.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { attempt } from "../net/error.ts";
import type { Slot } from "../net/record.ts";
import type { Conflict } from "../plan/mesh/conflicts.ts";
import { type Settings, slotPort } from "../plan/settings/settings.ts";
import { readUdpPorts } from "../reconcile/ports.ts";
import type { SlotFault } from "../state/model.ts";

/** Returns the conflict's sentence, with the process that has the port if the conflict is about a port. */
export function explainConflict(settings: Settings, { slot, text }: Conflict): string {
  const holder = slot === undefined ? "" : nameHolder(settings, slot);
  return holder === "" ? text : `${text}.${holder}`;
}

/** Explains why a slot cannot be used, and names the process that has its port. */
export function explainFault(settings: Settings, slot: Slot, { kind, reason }: SlotFault): string {
  return kind === "conflict" ? `${reason}${nameHolder(settings, slot)}` : reason;
}

function nameHolder(settings: Settings, slot: Slot): string {
  const port = slotPort(settings, slot);
  const holder = findPortHolder(port);
  return holder === undefined ? "" : ` Port ${port} is held by ${holder}.`;
}

/**
 * "python3 (process 123)"; several are separated by commas. Returns undefined if no visible
 * process has the port: a WireGuard device of the kernel's has it, or a process of another container.
 */
export function findPortHolder(port: number): string | undefined {
  const wanted = new Set((readUdpPorts().get(port) ?? []).map((inode) => `socket:[${inode}]`));
  if (wanted.size === 0) return undefined;
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const holders = processes.filter((pid) => hasOpen(pid, wanted)).map(describe);
  return holders.length === 0 ? undefined : holders.join(", ");
}

function hasOpen(pid: string, wanted: ReadonlySet<string>): boolean {
  const directory = `/proc/${pid}/fd`;
  const open = tryTo(() => readdirSync(directory)) ?? [];
  return open.some((fd) => wanted.has(tryTo(() => readlinkSync(`${directory}/${fd}`)) ?? ""));
}

function describe(pid: string): string {
  const name = tryTo(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim());
  return name === undefined ? `process ${pid}` : `${name} (process ${pid})`;
}

/** Returns undefined if the process has ended meanwhile, or may not be read. */
function tryTo<T>(read: () => T): T | undefined {
  return attempt(Error, read, () => undefined);
}
