// The counters as Linux 6.18 prints them, shortened; `cat /proc/net/FILE`.
import { expect, test } from "bun:test";
import { movedCounters, parseDropCounters, parseListing, readDropCounters } from "./drop-counters.ts";

const cases: Record<string, [file: string, text: string, counters: [string, number][]]> = {
  "protocols in pairs of lines": [
    "snmp",
    "Ip: Forwarding InReceives InDiscards\nIp: 1 900 2\nUdp: InDatagrams NoPorts RcvbufErrors\nUdp: 800 3 4\n",
    [
      ["Ip.InDiscards", 2],
      ["Udp.NoPorts", 3],
      ["Udp.RcvbufErrors", 4],
    ],
  ],
  "protocols of IPv6 in lines": [
    "snmp6",
    "Ip6InReceives                   \t77\nIp6InNoRoutes                   \t5\n",
    [["Ip6InNoRoutes", 5]],
  ],
  "strict reverse paths": [
    "netstat",
    "TcpExt: TW IPReversePathFilter\nTcpExt: 9 6\n",
    [["TcpExt.IPReversePathFilter", 6]],
  ],
  devices: [
    "dev",
    [
      "Inter-|   Receive                                                |  Transmit",
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed",
      "wg-cni-a:   26892     255    0    1    0     0          0         0    30288     294    0    7    0     0       0          0",
      "",
    ].join("\n"),
    [
      ["wg-cni-a rx errors", 0],
      ["wg-cni-a rx dropped", 1],
      ["wg-cni-a rx fifo", 0],
      ["wg-cni-a rx frame", 0],
      ["wg-cni-a tx errors", 0],
      ["wg-cni-a tx dropped", 7],
      ["wg-cni-a tx fifo", 0],
      ["wg-cni-a tx carrier", 0],
    ],
  ],
  "sockets of one port together": [
    "udp",
    [
      "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops",
      "  100: 00000000:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 3319 2 0000000000000000 12",
      "  100: 010200C0:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 3320 2 0000000000000000 1",
      "",
    ].join("\n"),
    [["udp port 51820 drops", 13]],
  ],
  "connections of all processors": [
    "stat/nf_conntrack",
    "entries  clashres found insert insert_failed drop early_drop\n0000000a  00000000 00000001 00000000 00000001 00000010 00000000\n0000000a  00000000 00000001 00000000 00000002 00000000 00000000\n",
    [
      ["conntrack insert_failed", 3],
      ["conntrack drop", 16],
      ["conntrack early_drop", 0],
    ],
  ],
  processors: [
    "softnet_stat",
    "06a94049 00000000 0000013e\n06969b53 0000000b 00000144\n",
    [
      ["processor 0 backlog", 0],
      ["processor 1 backlog", 11],
    ],
  ],
};

test.each(Object.entries(cases))("parseDropCounters finds %s", (_, [file, text, counters]) => {
  expect(parseDropCounters(file, text)).toEqual(counters);
});

test("parseListing finds the rules that drop, named counters, sets that packets fill, and queues", () => {
  const listing = `table inet wg-cni {
\tcounter lost {
\t\tpackets 4 bytes 336
\t}

\tset local4 {
\t\ttype ipv4_addr
\t\tflags interval
\t\tcounter
\t\telements = { 10.244.1.0/24 counter packets 99 bytes 8000 }
\t}

\tset stray_packets {
\t\ttype ifname
\t\tsize 1024
\t\tflags dynamic
\t\tcounter
\t\telements = { "wg-cni-a" counter packets 3 bytes 252, "eth0" counter packets 1 bytes 84 }
\t}

\tchain in {
\t\ttype filter hook prerouting priority raw; policy accept;
\t\tudp dport 7 counter packets 5 bytes 420 drop
\t\tudp dport 8 counter packets 6 bytes 504 accept
\t}
}
qdisc noqueue 0: dev lo root refcnt 2
 Sent 0 bytes 0 pkt (dropped 0, overlimits 0 requeues 0)
qdisc pfifo_fast 0: dev wg-cni-a root refcnt 2 bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1
 Sent 380 bytes 5 pkt (dropped 2, overlimits 0 requeues 0)
`;
  expect(Object.fromEntries(parseListing(listing))).toEqual({
    "inet wg-cni counter lost": 4,
    'inet wg-cni set stray_packets "wg-cni-a"': 3,
    'inet wg-cni set stray_packets "eth0"': 1,
    "inet wg-cni chain in: udp dport 7 drop": 5,
    "queue of lo dropped": 0,
    "queue of wg-cni-a dropped": 2,
  });
});

test("movedCounters has those that grew, and those that are new", () => {
  const before = new Map([
    ["Udp.NoPorts", 3],
    ["eth0 rx dropped", 1],
  ]);
  const after = new Map([...before, ["Udp.NoPorts", 5] as const, ["wg-cni-b tx dropped", 1] as const]);
  expect(movedCounters(before, after)).toEqual(["Udp.NoPorts +2", "wg-cni-b tx dropped +1"]);
  expect(movedCounters(after, after)).toEqual([]);
});

test("readDropCounters reads them of the namespace of a process", () => {
  const names = [...readDropCounters("/proc/self/net").keys()];
  for (const name of ["Udp.RcvbufErrors", "Ip6InDiscards", "TcpExt.IPReversePathFilter", "lo rx dropped"])
    expect(names).toContain(name);
  expect(readDropCounters("/proc/self/absent").size).toBe(0);
});
