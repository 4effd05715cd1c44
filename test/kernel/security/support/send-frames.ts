// Run in a pod's namespace: sends Ethernet frames as they are, as a process with NET_RAW can.
// Arguments: the interface, then each frame in hexadecimal.
import { readFileSync } from "node:fs";
import { syscall } from "../../../../src/linux/syscall.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;

const [dev = "", ...frames] = process.argv.slice(2);
const index = Number(readFileSync(`/sys/class/net/${dev}/ifindex`, "utf8"));
// struct sockaddr_ll: family, protocol, index; the rest is in the frame.
const address = new Uint8Array(20);
const view = new DataView(address.buffer);
view.setUint16(0, AF_PACKET, true);
view.setInt32(4, index, true);
const fd = syscall("socket", dev, AF_PACKET, SOCK_RAW, 0);
for (const frame of frames) {
  const bytes = Uint8Array.fromHex(frame);
  syscall("sendto", dev, fd, bytes, bytes.length, 0, address, address.length);
}
