// The bits of the mark that a rule may set follow from its expressions. How nft(8) and iptables-nft
// write them is seen in test/kernel/commands/doctor.test.ts.
import { expect, test } from "bun:test";
import { bitwise, compare, loadConnection, loadMeta, storeMark } from "../../src/netlink/nft/expressions.ts";
import { markBits } from "../../src/netlink/nft/marks.ts";
import { type Expression, NFT_CT_MARK, NFT_META_MARK } from "../../src/wire/nftables-expressions.ts";

const u32 = (value: number) => Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
const value = (mark: number): Expression => ({
  name: "immediate",
  data: { NFTA_IMMEDIATE_DREG: 1, NFTA_IMMEDIATE_DATA: { NFTA_DATA_VALUE: u32(mark) } },
});
const target = (name: string, info: Uint8Array): Expression => ({
  name: "target",
  data: { NFTA_TARGET_NAME: name, NFTA_TARGET_REV: 2, NFTA_TARGET_INFO: info },
});
const mark = loadMeta(NFT_META_MARK);

const cases: readonly (readonly [what: string, expressions: readonly Expression[], bits: number])[] = [
  ["a mark set whole", [value(0x80000001), storeMark], 0x80000001],
  ["bits set beside others", [mark, bitwise(u32(~0x6000), u32(0x2000)), storeMark], 0x2000],
  ["bits cleared", [mark, bitwise(u32(0xffff), u32(0)), storeMark], 0],
  ["a value cut before it is set", [value(0xff), bitwise(u32(0x0f), u32(0)), storeMark], 0x0f],
  ["a mark that is only compared", [mark, bitwise(u32(1), u32(0)), compare(0, u32(1))], 0],
  ["a value that is not set", [value(1), mark, compare(0, u32(1))], 0],
  ["what a connection has, which is not known", [loadConnection(NFT_CT_MARK), storeMark], 0],
  ["iptables' MARK", [target("MARK", Uint8Array.of(...u32(0x80000), ...u32(0xff0000)))], 0x80000],
  ["another target of iptables", [target("CONNMARK", u32(1))], 0],
  ["iptables' MARK without a mark", [target("MARK", new Uint8Array(2))], 0],
  ["nothing", [], 0],
];

test.each(cases)("%s", (_, expressions, bits) => {
  expect(markBits(expressions)).toBe(bits);
});
