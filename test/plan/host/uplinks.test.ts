// Interfaces that lead away from a node are found by their kinds and by routes.
import { expect, test } from "bun:test";
import type { Link } from "../../../src/net/objects.ts";
import { chooseUplinks } from "../../../src/plan/host/uplinks.ts";

const link = (index: number, name: string, kind: string, masterIndex = 0) =>
  ({ ...{ index, name, kind, masterIndex } }) as Link;

const links = [
  link(1, "lo", ""),
  link(2, "eth0", ""),
  link(3, "flannel.1", "vxlan"),
  link(4, "tunl0", "ipip"),
  link(5, "cni0", "bridge"),
  link(6, "veth1", "veth", 5),
  link(7, "cali1", "veth"),
  link(8, "wg-cni-a", "wireguard"),
  link(9, "up", "veth"),
];

test("hardware, networks between hosts and what is routed lead away; pods' links, their bridges and our devices do not", () => {
  expect(chooseUplinks(links, new Set(["up", "cni0"]), ["wg-cni-a"])).toEqual([
    "eth0",
    "flannel.1",
    "tunl0",
    "up",
  ]);
});
