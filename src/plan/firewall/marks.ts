// The firewall mark's field of two bits and its values. Each value is trusted only
// where only this node can have set it (mesh/desired.ts, rules): a forwarded packet
// that another product has marked with one of the bits is routed like any other.
import type { Mark } from "../../net/objects.ts";

export interface Marks {
  /**
   * What this node sends past the tunnel: the encrypted packets themselves, and what
   * is exempt or has a source that peers do not accept. Trusted on local output only.
   */
  readonly outside: Mark;
  /**
   * What enters the tunnel by the table of hosts: the answers of this node's own
   * processes to what came by the tunnel; and forwarded packets that came in
   * plaintext, whose reverse path must then skip our tables.
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
