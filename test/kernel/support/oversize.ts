// Run in a pod: sends a UDP datagram with Don't Fragment set, to a port where
// nobody listens, and prints what becomes of it: "EMSGSIZE at once" of the pod's
// own kernel, "EMSGSIZE later" of somebody on the way, "arrived", or "lost".
//
//   bun test/kernel/support/oversize.ts IP BYTES known|unknown
//
// BYTES counts the IP header too. "known": the size that the pod's routes allow
// is obeyed; "unknown": it is ignored, as by a program that probes the path.

import { SOCK_DGRAM, Socket } from "../../../src/linux/socket.ts";
import { SysError } from "../../../src/linux/syscall.ts";
import { sockaddr } from "../../lab/datagram.ts";

const AF_INET = 2;
const AF_INET6 = 10;
/** IP_MTU_DISCOVER of IPPROTO_IP, IPV6_MTU_DISCOVER of IPPROTO_IPV6 (linux/in.h, linux/in6.h). */
const options = { 4: [0, 10], 6: [41, 23] } as const;
const IP_PMTUDISC_DO = 2;
const IP_PMTUDISC_PROBE = 3;
/** An answer may be held back by a limit of their rate. */
const waitSeconds = 2;
const tries = 5;

const [ip = "", bytes, size] = process.argv.slice(2);
const family = ip.includes(":") ? 6 : 4;
using socket = Socket.open(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0, ip);
const [level, name] = options[family];
if (!socket.trySetOption(level, name, size === "known" ? IP_PMTUDISC_DO : IP_PMTUDISC_PROBE))
  throw new Error("the kernel refuses the option");
socket.setTimeLimit(waitSeconds);
socket.connect(sockaddr(ip, 9));
const payload = new Uint8Array(Number(bytes) - (family === 4 ? 28 : 48));
const code = (action: () => void): string | undefined => {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof SysError) return error.code;
    throw error;
  }
};
let outcome = "lost";
for (let i = 0; i < tries && outcome === "lost"; i++) {
  const atOnce = code(() => socket.send(payload));
  const later = atOnce === undefined ? code(() => socket.receive(new Uint8Array(1))) : undefined;
  if (atOnce === "EMSGSIZE") outcome = "EMSGSIZE at once";
  if (later === "EMSGSIZE") outcome = "EMSGSIZE later";
  if (atOnce === "ECONNREFUSED" || later === "ECONNREFUSED") outcome = "arrived";
}
process.stdout.write(outcome);
