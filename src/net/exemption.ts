// Traffic that stays outside the tunnel between nodes if host encryption sends all
// else into it: an address, a TCP port of an address, or a port of any node.
// Text is "192.0.2.1", "192.0.2.1:6443", "[2001:db8::1]:6443", "tcp/2379" or
// "udp/4789". It only ever holds between nodes: nothing to or from pods is exempt.
import { ParseError } from "./error.ts";
import { isIp, parseIp } from "./ip.ts";
import { formatIpPort, type IpPort, parseIpPort, parsePort } from "./ip-port.ts";

/** Addresses are canonical. */
export type Exemption =
  /** All that this address sends to and receives from other nodes. */
  | { readonly kind: "address"; readonly ip: string }
  /** TCP to and from what listens there. */
  | ({ readonly kind: "service" } & IpPort)
  /** Traffic of a listener on this port, on any node. */
  | { readonly kind: "port"; readonly protocol: TransportProtocol; readonly port: number };

export type TransportProtocol = "tcp" | "udp";

const protocols: readonly TransportProtocol[] = ["tcp", "udp"];

/** Throws ParseError. */
export function parseExemption(text: string): Exemption {
  if (isIp(text)) return { kind: "address", ip: parseIp(text) };
  for (const protocol of protocols)
    if (text.startsWith(`${protocol}/`))
      return { kind: "port", protocol, port: parsePort(text, text.slice(protocol.length + 1)) };
  if (!text.includes(":") || text.includes("/"))
    throw new ParseError(`"${text}" is none of IP, IP:PORT (TCP), tcp/PORT and udp/PORT`);
  return { kind: "service", ...parseIpPort(text) };
}

/** Canonical text. */
export function formatExemption(exemption: Exemption): string {
  switch (exemption.kind) {
    case "address":
      return exemption.ip;
    case "service":
      return formatIpPort(exemption);
    case "port":
      return `${exemption.protocol}/${exemption.port}`;
  }
}
