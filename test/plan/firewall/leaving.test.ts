// The chains for packets whose source is final: what is taken, what is counted, and what strict mode drops.
import { expect, test } from "bun:test";
import { firewallTable } from "../../../src/plan/firewall/table.ts";
import { chains, firewall, leavingChains } from "./firewalls.ts";

function leaving(changes: Partial<typeof firewall>): string[] {
  const table = firewallTable({ ...firewall, ...changes });
  const isLeaving = ({ name }: { readonly name: string }) => leavingChains.includes(name);
  return chains({ ...table, chains: table.chains.filter(isLeaving) });
}

const fromThisNode = `
		ip saddr @local4 accept
		ip saddr @own4 accept
		ip6 saddr @local6 accept
		ip6 saddr @own6 accept`;
const ifChanged = ["local4", "own4", "local6", "own6"]
  .flatMap((set) =>
    ["original", "reply"].map(
      (of) => `\n\t\tct ${of} ${set.endsWith("4") ? "ip" : "ip6"} saddr @${set} goto source_changed`,
    ),
  )
  .join("");
const counted = `
	chain source_changed {
		update @refused_sources4 { ip saddr }
		update @refused_sources6 { ip6 saddr }
		update @refused_destinations4 { ip daddr }
		update @refused_destinations6 { ip6 daddr }`;
const foreign = `
	chain routed {
		update @unknown_sources { iifname }
		drop
	}
	chain foreign_source {
		iifname "eth0" goto routed
		ip daddr @pods4_out drop
		ip daddr @hosts4_out drop
		ip6 daddr @pods6_out drop
		ip6 daddr @hosts6_out drop
	}`;
const errors = (then: string) => `
		icmp type destination-unreachable ${then}
		icmp type time-exceeded ${then}
		icmp type parameter-problem ${then}
		icmpv6 type destination-unreachable ${then}
		icmpv6 type time-exceeded ${then}
		icmpv6 type packet-too-big ${then}
		icmpv6 type parameter-problem ${then}`;
const tunneled = `
	chain tunneled {
		type filter hook postrouting priority 1000; policy accept;
		oifname "wg-cni-a" goto known
		oifname "wg-cni-b" goto known`;

test("permissive: count sources that this host has changed, in the tunnel and where the tunnel is to be", () => {
  const wanted = `${counted}
	}
	chain known {${fromThisNode}${errors("accept")}${ifChanged}
	}
	chain translated_outside {${fromThisNode}
		fib saddr type local accept
		ip daddr != @pods4_out accept
		ip6 daddr != @pods6_out accept${errors("accept")}${ifChanged}
	}${tunneled}
		ct status snat,dnat goto translated_outside
	}`;
  expect(leaving({})).toEqual(wanted.split("\n").slice(1));
});

test("strict: count them, and drop all foreign sources as packets to the peer", () => {
  const wanted = `${foreign}${counted}
		goto foreign_source
	}
	chain known {${fromThisNode}${errors("goto foreign_source")}${ifChanged}
		goto foreign_source
	}${tunneled}
	}`;
  expect(leaving({ strict: true })).toEqual(wanted.split("\n").slice(1));
});

test("without connection tracking nothing tells what was changed, and strict mode drops all the same", () => {
  const wanted = `${foreign}
	chain known {${fromThisNode}
		goto foreign_source
	}${tunneled}
	}`;
  expect(leaving({ connections: false, strict: true })).toEqual(wanted.split("\n").slice(1));
  expect(leaving({ connections: false })).toEqual([]);
});
