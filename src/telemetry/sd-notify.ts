// Reports the agent's state to the service manager by the protocol of sd_notify(3): a
// datagram to the socket in NOTIFY_SOCKET. Without that variable nothing is sent.
import { AF_UNIX, SOCK_DGRAM, Socket } from "../linux/socket.ts";
import { SysError } from "../linux/syscall.ts";
import { escapeControls } from "../net/printable.ts";

export class Notifier {
  readonly #address: Uint8Array | undefined;

  /** `path`: NOTIFY_SOCKET, absolute or, with "@" in front, abstract. */
  constructor(path: string | undefined) {
    this.#address = path === undefined || path === "" ? undefined : unixAddress(path);
  }

  /** Sends lines such as "READY=1"; a missing service manager is not an error. */
  send(...lines: readonly string[]): void {
    if (this.#address === undefined) return;
    try {
      using socket = Socket.open(AF_UNIX, SOCK_DGRAM, 0, "the service manager's socket");
      socket.connect(this.#address);
      socket.send(new TextEncoder().encode(lines.map(escapeControls).join("\n")));
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
  }
}

/** Returns the period of watchdog messages in milliseconds: half of WATCHDOG_USEC (sd_watchdog_enabled(3)). */
export function watchdogPeriodMs(usec: string | undefined): number | undefined {
  const microseconds = Number(usec ?? "");
  return Number.isFinite(microseconds) && microseconds > 0 ? microseconds / 2000 : undefined;
}

/** struct sockaddr_un; an abstract name begins with NUL and is as long as the address says. */
function unixAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path.startsWith("@") ? `\0${path.slice(1)}` : `${path}\0`);
  const address = new Uint8Array(2 + name.length);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  return address;
}
