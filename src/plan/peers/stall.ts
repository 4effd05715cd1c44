// Detects a userspace device that takes packets and sends nothing, because this node refuses what it sends: its
// firewall, as a rule. Such packets are not counted as sent, so no peer shows that they are unanswered. The
// kernel's WireGuard counts them as sent. Pure: time is an argument.
import type { Slot } from "../../net/record.ts";
import { sendingMs, unansweredMs } from "./gate-timers.ts";

/** The counters of a device. */
export interface DeviceLoad {
  /** Packets that were handed to the device. */
  readonly packets: number;
  /** Bytes that the device has sent to all peers together. */
  readonly sentBytes: number;
}

export interface Stall extends DeviceLoad {
  /** The first reading at which packets had entered and nothing was sent; absent if the device sends, or nothing enters. */
  readonly sinceMs?: number;
  /** The last reading at which packets had entered since. */
  readonly enteredAtMs?: number;
}

export type Stalls = Readonly<Partial<Record<Slot, Stall>>>;

/**
 * Adds one more reading of a device. A peer that was added anew counts from zero, so a smaller sum is no sign of
 * anything sent. The kernel itself sends a few packets for no peer into a device that comes up (multicast), so only
 * packets that keep coming make a stall.
 */
export function updateStall(before: Stall | undefined, load: DeviceLoad, nowMs: number): Stall {
  const isNew = before === undefined || load.packets < before.packets;
  if (isNew || load.sentBytes > before.sentBytes) return load;
  const enteredAtMs = load.packets > before.packets ? nowMs : before.enteredAtMs;
  if (enteredAtMs === undefined || nowMs - enteredAtMs > sendingMs) return load;
  return { ...load, sinceMs: before.sinceMs ?? nowMs, enteredAtMs };
}

/** True if the device has sent nothing for longer than a peer may take for an answer. `fromMs`: a stall counts from there at the earliest. */
export function isStalled(
  stall: Stall | undefined,
  nowMs: number,
  fromMs = Number.NEGATIVE_INFINITY,
): boolean {
  return stall?.sinceMs !== undefined && nowMs - Math.max(stall.sinceMs, fromMs) > unansweredMs;
}
