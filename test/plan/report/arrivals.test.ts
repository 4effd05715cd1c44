// Packets that arrived outside the tunnel, by interface.
import { expect, test } from "bun:test";
import {
  describeArrivals,
  describeForeign,
  listArrivals,
  listStrayPackets,
} from "../../../src/plan/report/arrivals.ts";

const counted = (packets: number) => ({ packets, bytes: 100 * packets });

test("each interface that something came by has one row, whatever came by it", () => {
  const counters = new Map([
    ["arrived", new Map([["eth0", counted(2)]])],
    ["spoofed", new Map([["veth1", counted(3)]])],
    ["unknown_sources", new Map([["eth0", counted(1)]])],
    ["pods4_in", new Map([["10.2.0.0/24", counted(9)]])],
  ]);
  const rows = listArrivals(counters);
  expect(rows).toEqual([
    { interface: "eth0", peerPackets: 2, spoofedPackets: 0, unannouncedPackets: 1 },
    { interface: "veth1", peerPackets: 0, spoofedPackets: 3, unannouncedPackets: 0 },
  ]);
  expect(rows.map(describeArrivals)).toEqual([
    "eth0: 2 in peers' names, 1 of no announced pod",
    "veth1: 3 spoofed",
  ]);
  expect(rows.map(describeForeign)).toEqual(["eth0: 1 of no announced pod", "veth1: 3 spoofed"]);
});

test("stray packets are listed by device", () => {
  const strays = new Map([
    ["wg-cni-b", counted(1)],
    ["wg-cni-a", counted(4)],
  ]);
  expect(listStrayPackets(new Map([["stray_packets", strays]]))).toEqual([
    { device: "wg-cni-a", packets: 4 },
    { device: "wg-cni-b", packets: 1 },
  ]);
  expect(listStrayPackets(new Map())).toEqual([]);
});

test("a table of before, and one that has counted nothing, have none", () => {
  expect(listArrivals(new Map())).toEqual([]);
  const none = { interface: "eth0", peerPackets: 0, spoofedPackets: 0, unannouncedPackets: 0 };
  expect(describeArrivals(none)).toBeUndefined();
});
