// Run in the lab's wire: sends one router advertisement (RFC 4861, 4.2) by an interface,
// as the router of the nodes' network would. A default route for half an hour, no prefix.
import { readFileSync } from "node:fs";
import { syscall } from "../../../src/linux/syscall.ts";
import { sockaddr } from "../../lab/datagram.ts";

const AF_INET6 = 10;
const SOCK_RAW = 3;
const IPPROTO_ICMPV6 = 58;
const IPPROTO_IPV6 = 41;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const routerAdvertisement = 134;
const lifetimeSeconds = 1800;

const dev = process.argv[2] as string;
const index = Number(readFileSync(`/sys/class/net/${dev}/ifindex`, "utf8"));
const number = (value: number) => new Uint8Array(Int32Array.of(value).buffer);
const fd = syscall("socket", dev, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
for (const [option, value] of [
  [IPV6_MULTICAST_IF, index],
  // Others are not taken: they may have come by a router.
  [IPV6_MULTICAST_HOPS, 255],
] as const)
  syscall("setsockopt", dev, fd, IPPROTO_IPV6, option, number(value), 4);
const message = new Uint8Array(16);
message[0] = routerAdvertisement;
// The kernel puts the checksum in.
new DataView(message.buffer).setUint16(6, lifetimeSeconds);
const to = sockaddr("ff02::1", 0);
syscall("sendto", dev, fd, message, message.length, 0, to, to.length);
