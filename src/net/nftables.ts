// One nftables table as a value: what is wanted, what is
// observed, and the commands that lead from one to the other. Rules are made of
// the few statements that we use, each as nft(8) writes it; whatever else the
// kernel holds is kept by name only, so that it is noticed. No behaviour here.
import type { Family } from "./ip.ts";
import type { Mark } from "./objects.ts";

/** "inet" sees IPv4 and IPv6, "arp" the questions after link-layer addresses and their answers. */
export type NftFamily = "inet" | "arp";

export interface NftTableName {
  readonly family: NftFamily;
  readonly name: string;
}

export interface NftTable extends NftTableName {
  readonly sets: readonly NftSet[];
  readonly chains: readonly NftChain[];
  /** Observed objects that these types cannot express, in words: "map m", "flags dormant". */
  readonly foreign: readonly string[];
}

/** The most elements of a dynamic set: packets cannot make it any larger. */
export const dynamicSetSize = 1024;

export interface NftSetDeclaration {
  readonly name: string;
  /** The family of its addresses, or "ifname" if it holds names of interfaces. */
  readonly family: Family | "ifname";
  /** Holds prefixes that do not overlap; else single addresses. */
  readonly interval: boolean;
  /** Each element counts the packets that it matches. */
  readonly counter: boolean;
  /** Packets add its elements: which there are is neither wanted nor compared. */
  readonly dynamic?: true;
  /** Minutes (below 60) after the last packet at which an element of a dynamic set ends, with its count. */
  readonly timeoutMinutes?: number;
}

export interface NftSet extends NftSetDeclaration {
  /**
   * Canonical prefixes ("10.2.0.0/24", "10.9.0.7/32"), or addresses if the set
   * has no intervals. Observed may also be a range that is no prefix
   * ("10.2.0.1-10.2.0.9") and "*", which matches everything.
   */
  readonly elements: ReadonlySet<string>;
}

/** The arp family has only input and output. */
export type NftHook = "prerouting" | "input" | "forward" | "output" | "postrouting";

/** The point at which packets enter a chain. */
export interface NftBase {
  /** "route", only of output: packets whose mark it changes are routed again. */
  readonly type: "filter" | "route";
  readonly hook: NftHook;
  readonly priority: number;
  readonly policy: "accept" | "drop";
}

export interface NftChainDeclaration {
  readonly name: string;
  /** Absent for a chain that is only jumped to. */
  readonly base?: NftBase;
}

export interface NftChain extends NftChainDeclaration {
  readonly rules: readonly NftRule[];
}

export type IcmpType =
  | "destination-unreachable"
  | "time-exceeded"
  | "packet-too-big"
  | "parameter-problem"
  | "nd-router-advert"
  | "nd-redirect";

/** Types of a destination that belongs to one other host: routed, or not. */
export type NftRouteType = "unicast" | "blackhole" | "unreachable" | "prohibit";

export type NftRule = readonly NftStatement[];

export type NftStatement =
  /** The loopback interface, whose index is 1 in every namespace. */
  | { readonly kind: "loopback"; readonly direction: "iif" | "oif" }
  | { readonly kind: "interface"; readonly direction: "iif" | "oif"; readonly name: string }
  /** The packet came by an interface of that group. */
  | { readonly kind: "fromGroup"; readonly group: number }
  | {
      readonly kind: "inSet";
      readonly family: Family;
      readonly field: "saddr" | "daddr";
      readonly set: string;
      /** The address is in none of the elements; none of them counts the packet. */
      readonly not?: true;
    }
  /** Counts the packet in the dynamic set's element of the interface that it came by. */
  | { readonly kind: "countInterface"; readonly set: string }
  /** Counts the packet in the dynamic set's element of its address. */
  | {
      readonly kind: "countAddress";
      readonly family: Family;
      readonly field: "saddr" | "daddr";
      readonly set: string;
    }
  /** The address that asks or answers, in the arp family. */
  | { readonly kind: "senderInSet"; readonly set: string }
  | { readonly kind: "address"; readonly field: "saddr" | "daddr"; readonly ip: string }
  | {
      readonly kind: "port";
      readonly protocol: "tcp" | "udp";
      readonly field: "sport" | "dport";
      readonly port: number;
    }
  /**
   * The datagram begins as WireGuard's messages do: a type below 8, of which 1 to 4 are in use, and
   * three bytes of 0. Only behind a port of UDP.
   */
  | { readonly kind: "wireguardMessage" }
  /** The address is, or with `not` is not, one of this node's own (RTN_LOCAL). */
  | { readonly kind: "local"; readonly field: "saddr" | "daddr"; readonly not?: true }
  /** The type that the routes have for the destination, as `local` has it for this node's own. */
  | { readonly kind: "routeType"; readonly type: NftRouteType }
  /**
   * The routes lead back to the source by the interface that the packet came by, or with `not` do
   * not: no route, or this node's own address. With `marked` they are those that its mark selects.
   */
  | { readonly kind: "routedBack"; readonly marked?: true; readonly not?: true }
  /** The routes lead back to the source by that device. */
  | { readonly kind: "routedBackBy"; readonly device: string }
  /** The routes that the packet's mark selects, for a process of this node, lead to the destination by the device. */
  | { readonly kind: "routedBy"; readonly device: string }
  /** The same as routedBy, by any device: the routes neither lack one nor refuse the packet. */
  | { readonly kind: "routed" }
  /** The type of an ICMP or ICMPv6 message, by the name that nft has for it. */
  | { readonly kind: "icmp"; readonly family: Family; readonly type: IcmpType }
  /** The header of an IPv4 packet has options. */
  | { readonly kind: "ipOptions" }
  /** The packet is of IPv6, and has a routing header of any type, wherever it is among the extension headers. */
  | { readonly kind: "routingHeader" }
  | { readonly kind: "hasMark"; readonly mark: Mark }
  /** Sets the bits of the mask, and leaves the other bits as they are. */
  | { readonly kind: "setMark"; readonly mark: Mark }
  /** The tracked connection that the packet belongs to has the mark; false for a packet without one. */
  | { readonly kind: "hasConnectionMark"; readonly mark: Mark }
  /** The same as setMark, on the connection; nothing happens to a packet without one. */
  | { readonly kind: "setConnectionMark"; readonly mark: Mark }
  /** The packet goes the way of the connection's first one, or back; false for a packet without a connection. */
  | { readonly kind: "direction"; readonly of: "original" | "reply" }
  /** The connection's destination, or either of its ends, was translated; false for a packet without a connection. */
  | { readonly kind: "translated"; readonly of: "destination" | "either" }
  /**
   * The source that the connection's packets of that direction come with, before this host changes it, is in
   * the set; false for a packet without a connection.
   */
  | {
      readonly kind: "connectionSource";
      readonly of: "original" | "reply";
      readonly family: Family;
      readonly set: string;
    }
  | { readonly kind: "tcpSyn" }
  /** Lowers the maximum segment size to what fits the route, in both directions; never raises it. */
  | { readonly kind: "clampMss" }
  | { readonly kind: "verdict"; readonly verdict: "accept" | "drop" }
  /** Drops the packet and tells its sender that the host is unreachable (ICMP or ICMPv6). */
  | { readonly kind: "reject" }
  | { readonly kind: "goto"; readonly chain: string }
  /** An expression of the kernel's that is none of the above; only ever observed. */
  | { readonly kind: "unknown"; readonly expression: string };

export type NftCommand = { readonly table: NftTableName } & (
  | { readonly do: "addTable" | "deleteTable" }
  | { readonly do: "addSet"; readonly set: NftSetDeclaration }
  | { readonly do: "deleteSet"; readonly set: string }
  | {
      readonly do: "addElements" | "deleteElements";
      readonly set: NftSetDeclaration;
      readonly elements: readonly string[];
    }
  | { readonly do: "addChain"; readonly chain: NftChainDeclaration }
  /** Removes the rules of a chain. */
  | { readonly do: "flushChain"; readonly chain: string }
  | { readonly do: "deleteChain"; readonly chain: string }
  | { readonly do: "addRule"; readonly chain: string; readonly rule: NftRule }
);

/** The count of an element since it was created. */
export interface NftCounter {
  readonly packets: number;
  readonly bytes: number;
}
