// The kernel's networking objects as plain values, as `ip` shows them: what is
// observed, planned and applied is all written in these types. Interfaces are
// referred to by name, because plans name devices that do not exist yet; only
// netlink/ knows interface indexes. No behaviour here.
import type { Family } from "./ip.ts";

/** A network interface (struct ifinfomsg, IFLA_*). */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** IFLA_INFO_KIND ("veth", "wireguard", "tun", …); "" for physical ones. */
  readonly kind: string;
  readonly mtu: number;
  /** IFF_UP: administratively up. */
  readonly up: boolean;
  /** Link-layer address, lower case; "" if there is none. */
  readonly mac: string;
  /** IFLA_MASTER: index of the bridge, bond or other interface that this one is a port of. */
  readonly masterIndex?: number;
  /** IFLA_LINK: index of the other end of a veth, in the namespace `linkNetnsId` names. */
  readonly linkIndex?: number;
  readonly linkNetnsId?: number;
  /** IFLA_GROUP; absent for 0, the group of every link that was put into no other. */
  readonly group?: number;
}

/** Settings of IPv4 of one interface (ip-sysctl: /proc/sys/net/ipv4/conf/INTERFACE). */
export interface Ipv4LinkSettings {
  readonly rpFilter: number;
  readonly acceptRedirects: number;
  readonly sendRedirects: number;
  readonly proxyArp: number;
}

/** One address of an interface (struct ifaddrmsg, IFA_*). */
export interface Address {
  readonly dev: string;
  readonly ip: string;
  /** Length of the network the address is in, in bits. */
  readonly length: number;
  readonly scope: Scope;
  /** IFA_F_NOPREFIXROUTE: no route to the network comes with the address. */
  readonly noPrefixRoute: boolean;
  /** IFA_F_NODAD: usable at once, without duplicate address detection (RFC 4862, 5.4). */
  readonly noDad: boolean;
  /** The reason why the address should not be announced; absent if there is none. */
  readonly caveat?: AddressCaveat;
}

/** "secondary": IPv4's further ones of a network; "temporary": IPv6's for privacy (RFC 8981). */
export type AddressCaveat = "secondary" | "temporary" | "deprecated" | "tentative" | "duplicate";

export type Scope = "global" | "site" | "link" | "host" | "nowhere";

export type RouteType =
  | "unicast"
  | "local"
  | "broadcast"
  | "anycast"
  | "multicast"
  | "blackhole"
  | "unreachable"
  | "prohibit"
  | "throw";

/** Route metrics (RTAX_*); absent means "not set". */
export interface RouteMetrics {
  readonly mtu?: number;
  readonly advmss?: number;
}

/** One route (struct rtmsg, RTA_*). Absent properties are absent in the kernel. */
export interface Route {
  readonly family: Family;
  readonly table: number;
  readonly type: RouteType;
  /** Canonical prefix; the default route is "0.0.0.0/0" or "::/0". */
  readonly dst: string;
  /** IPv4 type of service that the route is for; absent is 0, any. */
  readonly tos?: number;
  readonly dev?: string;
  readonly via?: string;
  /** RTA_PREFSRC: preferred source address. */
  readonly src?: string;
  readonly scope: Scope;
  /** RTPROT_*: who made the route (boot 3, kernel 2, static 4; ours in plan/names.ts). */
  readonly protocol: number;
  /** RTA_PRIORITY; the kernel shows 1024 for IPv6 routes made without one, absent for IPv4's 0. */
  readonly priority?: number;
  readonly metrics?: RouteMetrics;
  /** RTNH_F_ONLINK: the gateway is taken as reachable without a route to it. */
  readonly onlink?: boolean;
}

/** The route of packets to one address, or the reason why there is none (`ip route get fibmatch`). */
export interface RouteLookup {
  readonly dst: string;
  /** "local" if the address is the node's own; absent if there is no route. */
  readonly type?: RouteType;
  /** Interfaces of the route: several if it has several next hops. */
  readonly devs: readonly string[];
  /** True if the next hop is a gateway, so that the address is not on the interface's own link. */
  readonly hasGateway?: true;
  /** True if the route is for this one address, and not for a prefix that contains it. */
  readonly isForOne?: true;
  /** The route's own MTU, if it has one; one that was learned from ICMP is not meant. */
  readonly mtu?: number;
  /** True if packets of the route go nowhere, because its interface has no carrier. */
  readonly isDead?: true;
  /** The reason if there is no route: "ENETUNREACH", "EHOSTUNREACH", "EACCES" (prohibit), "EINVAL" (blackhole). */
  readonly error?: string;
}

/** Masked firewall mark, as `fwmark MARK/MASK`. */
export interface Mark {
  readonly mark: number;
  readonly mask: number;
}

/** One policy rule (struct fib_rule_hdr, FRA_*). */
export interface Rule {
  readonly family: Family;
  readonly priority: number;
  readonly action: "lookup" | "goto" | "nop" | "blackhole" | "unreachable" | "prohibit";
  /** FIB_RULE_INVERT: `not`, over all the selectors together. */
  readonly invert: boolean;
  /** The table of an action "lookup". */
  readonly table?: number;
  /** The target of an action "goto": the priority of the rule to continue at. */
  readonly target?: number;
  readonly fwmark?: Mark;
  readonly iif?: string;
  readonly oif?: string;
  readonly src?: string;
  readonly dst?: string;
  /** The kernel shows selectors that are not named here (ports, users, TOS, suppressors): such a rule is never ours. */
  readonly hasOtherSelectors?: true;
  readonly protocol: number;
}

/** One entry of the neighbour table (struct ndmsg, NDA_*). */
export interface Neighbour {
  readonly dev: string;
  readonly ip: string;
  readonly mac: string;
  readonly permanent: boolean;
}

/** An entry that a bridge has learned: the port that a link-layer address is behind. */
export interface BridgeEntry {
  readonly dev: string;
  readonly mac: string;
}

/** A WireGuard device to be made. */
export interface WireGuardAdd {
  readonly kind: "wireguard";
  readonly name: string;
  readonly mtu?: number;
}

/** A veth pair to be made. */
export interface VethAdd {
  readonly kind: "veth";
  readonly name: string;
  readonly mtu?: number;
  readonly mac?: string;
  readonly up?: boolean;
  /** No IPv6 link-local address of the kernel's choice; the peer's is changed from its own namespace. */
  readonly addrGenModeNone?: boolean;
  readonly group?: number;
  readonly ipv4?: Ipv4LinkSettings;
  readonly peer: {
    readonly name: string;
    readonly mtu?: number;
    readonly mac?: string;
    /** Makes the peer in this namespace instead of ours. */
    readonly netnsFd?: number;
  };
}

export type LinkAdd = WireGuardAdd | VethAdd;

/** A change to a link. */
export interface LinkChange {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: string;
  /** No IPv6 link-local address of the kernel's choice, from the next time that the link goes up. */
  readonly addrGenModeNone?: boolean;
  readonly group?: number;
  readonly ipv4?: Ipv4LinkSettings;
}
