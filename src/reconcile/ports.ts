// UDP ports of this network namespace that are in use. Reads only.
import { findText } from "../linux/file.ts";

const tables = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];

/** Reads, for each port, the inodes of the sockets that have it (proc(5), /proc/net/udp: "sl local_address … uid timeout inode"). */
export function readUdpPorts(): Map<number, string[]> {
  const ports = new Map<number, string[]>();
  // A kernel without IPv6 has no such table.
  for (const line of tables.flatMap((path) => (findText(path) ?? "").split("\n"))) {
    const [, local = "", , , , , , , , inode = ""] = line.trim().split(/\s+/);
    const port = Number.parseInt(local.split(":")[1] ?? "", 16);
    if (!Number.isNaN(port)) ports.set(port, [...(ports.get(port) ?? []), inode]);
  }
  return ports;
}
