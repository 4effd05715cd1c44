// Watches for changes: the kernel's event sockets and the store's file. Both only trigger a reconcile
// pass, so a lost event costs time, not correctness.
import { read, watch } from "node:fs";
import type { Socket } from "../linux/socket.ts";
import { SysError } from "../linux/syscall.ts";
import { attempt } from "../net/error.ts";
import type { EventSource, KernelEvent } from "../netlink/events.ts";
import { DecodeError } from "../wire/error.ts";

const receiveBytes = 65_536;

export interface Watcher extends Disposable {}

/** A pod that starts causes dozens of events within a few milliseconds, and each that is waited for alone wakes two threads. */
const gatherMs = 5;
/** Processes that change the kernel without end must not keep the agent from everything else. */
const maxDrained = 1000;

/**
 * Passes every event of a source to `onEvent`, and calls `onLoss` when some were lost. A read waits
 * in one of the runtime's pool threads, so this does not poll.
 */
export function watchKernel(
  source: EventSource,
  onEvent: (event: KernelEvent) => void,
  onLoss: (reason: string) => void,
): Watcher {
  const socket: Socket = source.open();
  const buffer = new Uint8Array(receiveBytes);
  let ended = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deliver = (length: number) => deliverEvents(source, buffer.subarray(0, length), onEvent, onLoss);
  const next = () => {
    if (ended) return;
    read(socket.fd, buffer, 0, buffer.length, null, (error, length) => {
      if (ended) return;
      // EAGAIN means that nothing happened within the socket's time limit.
      if (error !== null && error.code !== "EAGAIN") onLoss(error.message);
      if (error === null) deliver(length);
      attempt(
        SysError,
        () => drain(socket, buffer, deliver),
        ({ message }) => onLoss(message),
      );
      timer = setTimeout(next, gatherMs);
    });
  };
  next();
  return {
    [Symbol.dispose]: () => {
      ended = true;
      clearTimeout(timer);
      socket[Symbol.dispose]();
    },
  };
}

/** Reads what else has come, within the bound. */
function drain(socket: Socket, buffer: Uint8Array, deliver: (length: number) => void): void {
  for (let messages = 0; messages < maxDrained; messages++) {
    const length = socket.receiveNow(buffer);
    if (length === undefined) return;
    deliver(length);
  }
}

/** An event that cannot be decoded counts as lost: something has changed. */
function deliverEvents(
  source: EventSource,
  received: Uint8Array,
  onEvent: (event: KernelEvent) => void,
  onLoss: (reason: string) => void,
): void {
  const deliver = () => {
    for (const event of source.read(received, received.length)) onEvent(event);
  };
  attempt(DecodeError, deliver, ({ message }) => onLoss(message));
}

/** Calls `onChange` when another process has written to the store. */
export function watchStore(stateDir: string, onChange: () => void): Watcher {
  const watcher = watch(stateDir, (_event, name) => {
    if (name === "state.db-wal" || name === "state.db") onChange();
  });
  return { [Symbol.dispose]: () => watcher.close() };
}
