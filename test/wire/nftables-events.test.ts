// The kernel's events about nftables (nfnetlink's multicast group), laid out by hand as
// linux/netfilter/nf_tables.h has them: whichever kind of object an event is about, it has the table's name,
// and the attributes after it are not taken for a table's.
import { expect, test } from "bun:test";
import { firewallEvents } from "../../src/netlink/events.ts";
import { bytesOf } from "./bytes.ts";

const table = "0b00 0100 77672d636e6900 00"; // "wg-cni"
const read = (hex: string) => {
  const bytes = bytesOf(hex);
  new DataView(bytes.buffer).setUint32(0, bytes.length, true);
  return firewallEvents.read(bytes, bytes.length);
};
const header = (type: string) => `00000000 ${type} 0000 00000000 03020000  01 00 0001`;

test.each([
  ["NFT_MSG_NEWTABLE", "000a", "0800 0200 00000000"],
  ["NFT_MSG_NEWCHAIN", "030a", "0c00 0200 0000000000000001"],
  ["NFT_MSG_NEWRULE", "060a", "0b00 0200 6f757470757400 00"],
  ["NFT_MSG_NEWSET", "090a", "0d00 0200 706f6473345f696e00 000000"],
  ["NFT_MSG_DELSETELEM", "0e0a", "0d00 0200 706f6473345f696e00 000000"],
])("%s names the table", (_name, type, rest) => {
  expect(read(`${header(type)} ${table} ${rest}`)).toEqual([
    { about: "firewall", table: "wg-cni", port: 0x0203 },
  ]);
});

test("a new generation is about no table", () => {
  expect(read(`${header("0f0a")} 0800 0100 00000007`)).toEqual([]);
});
