// The firewall mark has a field of two bits. Each value is trusted only at places where only this node
// can have set it (mesh/desired.ts, rules): a forwarded packet that another product has marked with one
// of the bits is routed like any other.
import type { Mark } from "../../net/objects.ts";

export interface Marks {
  /**
   * Packets that this node sends past the tunnel: the encrypted packets themselves, exempt packets, and
   * packets with a source that peers do not accept. The mark is trusted on local output only.
   */
  readonly outside: Mark;
  /**
   * Packets that enter the tunnel by the table of hosts: the answers of this node's own processes to
   * packets from the tunnel; and forwarded packets that came in plaintext, whose reverse path must then
   * skip our tables.
   */
  readonly inside: Mark;
  /** The mark of packets that came in plaintext and stay outside: their route and their reverse path skip our tables. */
  readonly arrived: Mark;
  /** None of the three. */
  readonly none: Mark;
}

/** `fwmark`: two bits as its mask, one of them as the mark of encrypted packets. */
export function marksOf({ mark, mask }: Mark): Marks {
  return {
    outside: { mark, mask },
    inside: { mark: (mask & ~mark) >>> 0, mask },
    arrived: { mark: mask, mask },
    none: { mark: 0, mask },
  };
}

/** A mark on a connection is one bit: other programs have theirs beside it. */
export function connectionMarkOf(fwmark: Mark): Mark {
  const { mark } = marksOf(fwmark).inside;
  return { mark, mask: mark };
}
