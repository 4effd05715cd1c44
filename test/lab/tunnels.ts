// The userspace WireGuard of the lab's nodes is a part of the instrument: on a
// busy machine it waits for its turn longer than its sockets have room for, and
// what is lost then says nothing of the product. So they get the room that
// newer releases of wireguard-go ask for themselves, and what they drop even so
// is an error. By pidfd_getfd(2), since the sockets are another process's.
import { dlopen, FFIType, ptr } from "bun:ffi";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Node } from "./node.ts";

const implementations: readonly string[] = ["wireguard-go", "boringtun-cli", "boringtun"];
/** As wireguard-go since 2023 (conn/controlfns.go). */
const receiveBufferBytes = 7 * 1024 * 1024;

/** The queue of its TUN device: five seconds of two streams. */
const queuedPackets = 10_000;

/** The same numbers on all architectures (asm-generic/unistd.h). */
const calls = { pidfd_open: 434, pidfd_getfd: 438 };
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_RCVBUFFORCE = 33;
const SOCK_DGRAM = 2;

const libc = dlopen("libc.so.6", {
  syscall: { args: ["i64", "i64", "i64", "i64"], returns: FFIType.i64_fast },
  getsockopt: { args: ["int", "int", "int", "ptr", "ptr"], returns: "int" },
  setsockopt: { args: ["int", "int", "int", "ptr", "int"], returns: "int" },
  close: { args: ["int"], returns: "int" },
}).symbols;

/** Before a stream begins: devices that are made later have their own sizes. */
export function widenTunnels(nodes: Iterable<Node>): void {
  const nodeOf = new Map([...nodes].map((node) => [readlinkSync(node.netns), node]));
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)))
    try {
      const command = readFileSync(`/proc/${name}/comm`, "utf8").trim();
      if (!implementations.includes(command)) continue;
      const node = nodeOf.get(readlinkSync(`/proc/${name}/ns/net`));
      if (node === undefined) continue;
      widenSockets(Number(name));
      const dev = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0")[1] as string;
      node.must(["ip", "link", "set", dev, "txqueuelen", String(queuedPackets)]);
    } catch {
      // It has ended meanwhile.
    }
}

/** Datagrams of a node that found a full buffer, in all of its sockets, since it was made. */
export function droppedIn(node: Node): number {
  const read = (file: string) => readFileSync(`/proc/${node.pid}/net/${file}`, "utf8");
  // snmp: a line of names and one of values. snmp6: a line each.
  const [names, values] = read("snmp")
    .split("\n")
    .flatMap((line) => (line.startsWith("Udp: ") ? [line.split(" ")] : []));
  const in4 = Number(values?.[names?.indexOf("RcvbufErrors") ?? -1]);
  const in6 = Number(/^Udp6RcvbufErrors\s+(\d+)/m.exec(read("snmp6"))?.[1]);
  return in4 + in6;
}

function widenSockets(pid: number): void {
  const process = call(calls.pidfd_open, pid);
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    if (!readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("socket:")) continue;
    const socket = call(calls.pidfd_getfd, process, Number(fd));
    const type = new Int32Array(1);
    const length = Int32Array.of(4);
    libc.getsockopt(socket, SOL_SOCKET, SO_TYPE, ptr(type), ptr(length));
    const bytes = Int32Array.of(receiveBufferBytes);
    if (type[0] === SOCK_DGRAM) libc.setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, ptr(bytes), 4);
    libc.close(socket);
  }
  libc.close(process);
}

function call(number: number, a: number, b = 0): number {
  const result = Number(libc.syscall(number, a, b, 0));
  if (result < 0) throw new Error(`The kernel refuses system call ${number} on process ${a}`);
  return result;
}
