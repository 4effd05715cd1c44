// Datagrams as a process sends them that may open raw sockets (NET_RAW) and nothing else:
// any source port, any firewall mark, by any interface. A program and the function that
// runs it in a namespace of the lab.

import { rawSyscall, syscall } from "../../../src/linux/syscall.ts";
import { familyOf, ipBytes } from "../../../src/net/ip.ts";
import { sockaddr } from "../../lab/datagram.ts";
import type { Namespaces } from "../../lab/namespaces.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const IPPROTO_UDP = 17;
const IPPROTO_IP = 0;
const IP_OPTIONS = 4;
/** Type, length and pointer of a loose source route with one address. */
const looseRoute = [131, 7, 4];
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const SO_MARK = 36;
const udpHeaderBytes = 8;

export interface Forged {
  readonly to: string;
  readonly sourcePort: number;
  readonly port: number;
  /** Of the datagram, in hexadecimal digits. */
  readonly payload: string;
  readonly mark?: number;
  /** The interface that it is to leave by, whatever the routes say. */
  readonly dev?: string;
  /** An address that it is to pass on its way (IPv4's loose source routing, RFC 791). */
  readonly via?: string;
}

/** Linux lets such a process set marks since 5.17. Throws CommandError if it does not. */
export function forge(from: Namespaces, packets: readonly Forged[]): void {
  const onlyRaw = ["setpriv", "--bounding-set", "-all,+net_raw", "--inh-caps", "-all,+net_raw"];
  from.must([...onlyRaw, process.execPath, "--smol", import.meta.path], { stdin: JSON.stringify(packets) });
}

function send({ to, sourcePort, port, payload, mark = 0, dev, via }: Forged): void {
  const domain = familyOf(to) === 4 ? AF_INET : AF_INET6;
  const fd = syscall("socket", to, domain, SOCK_RAW_CLOEXEC, IPPROTO_UDP);
  const option = (level: number, name: number, value: Uint8Array) =>
    syscall("setsockopt", to, fd, level, name, value, value.length);
  option(SOL_SOCKET, SO_MARK, new Uint8Array(Uint32Array.of(mark).buffer));
  if (dev !== undefined) option(SOL_SOCKET, SO_BINDTODEVICE, new TextEncoder().encode(dev));
  if (via !== undefined) option(IPPROTO_IP, IP_OPTIONS, Uint8Array.of(...looseRoute, ...ipBytes(via), 0));
  const bytes = new Uint8Array([...new Uint8Array(udpHeaderBytes), ...Uint8Array.fromHex(payload)]);
  const header = new DataView(bytes.buffer);
  header.setUint16(0, sourcePort);
  header.setUint16(2, port);
  header.setUint16(4, bytes.length);
  const address = sockaddr(to, 0);
  // A firewall that drops the packet makes this fail.
  rawSyscall("sendto", fd, bytes, bytes.length, 0, address, address.length);
  syscall("close", to, fd);
}

if (import.meta.main) for (const packet of (await Bun.stdin.json()) as Forged[]) send(packet);
