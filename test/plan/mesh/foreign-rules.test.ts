// The verdict about rules of others, as a table: which can take packets of ours.
import { expect, test } from "bun:test";
import type { Rule } from "../../../src/net/objects.ts";
import { judgeRule, type RuleHarm } from "../../../src/plan/mesh/foreign-rules.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";

const settings = parseSettings({});
const base = { family: 4, action: "lookup", table: 254, invert: false, protocol: 0 } as const;
const ours = { mark: 0x20000000, mask: 0x20000000 };

const cases: readonly [
  what: string,
  rule: Partial<Rule> & { priority: number },
  harm: RuleHarm | undefined,
][] = [
  ["a rule far behind ours", { priority: 32766 }, undefined],
  ["a rule before ours, which doctor follows into its table", { priority: 10 }, undefined],
  ["one of ours", { priority: 98, protocol: 118, table: 18098 }, undefined],
  // Order: the kernel puts a rule behind those of its priority.
  ["everything, at our first priority", { priority: 97 }, "order"],
  ["everything, between our lookups", { priority: 98 }, "order"],
  ["everything, at our second lookup", { priority: 99 }, "order"],
  ["everything, at our last rule, which does nothing", { priority: 100 }, undefined],
  ["a source, between ours", { priority: 98, src: "198.51.100.0/24" }, "order"],
  ["a destination, between ours", { priority: 98, dst: "198.51.100.0/24" }, "order"],
  ["what this node sends, between ours", { priority: 99, iif: "lo" }, "order"],
  ["ports, between ours", { priority: 99, hasOtherSelectors: true }, "order"],
  ["a refusal, between ours", { priority: 99, action: "prohibit" }, "order"],
  ["a jump over ours", { priority: 98, action: "goto", target: 200 }, "order"],
  ["a rule that does nothing, between ours", { priority: 98, action: "nop" }, undefined],
  ["the node's own addresses, between ours", { priority: 98, table: 255 }, undefined],
  ["what leaves by one interface, between ours", { priority: 98, oif: "eth1" }, undefined],
  ["a foreign mark, between ours", { priority: 98, fwmark: { mark: 0x4000, mask: 0x4000 } }, undefined],
  ["packets without a mark, between ours", { priority: 98, fwmark: { mark: 0, mask: 0xffff } }, "order"],
  [
    "all but a mark, between ours",
    { priority: 98, fwmark: { mark: 0x4000, mask: 0x4000 }, invert: true },
    "order",
  ],
  ["nothing, between ours: `not` of everything", { priority: 98, invert: true }, undefined],
  // Mark.
  ["our bit", { priority: 300, fwmark: ours }, "mark"],
  ["our bit, before ours", { priority: 10, fwmark: ours }, "mark"],
  ["our bit and another one", { priority: 300, fwmark: { mark: 0x30000000, mask: 0x30000000 } }, "mark"],
  ["our bit in a wider mark", { priority: 300, fwmark: { mark: 0x28000000, mask: 0xff000000 } }, "mark"],
  ["all but our bit", { priority: 300, fwmark: ours, invert: true }, "mark"],
  [
    "a mark whose mask has our bits, and wants them clear",
    { priority: 5210, fwmark: { mark: 0x8000000, mask: 0xff000000 } },
    undefined,
  ],
  [
    "wg-quick's rule, which takes what every program sends",
    { priority: 32765, fwmark: { mark: 0xca6c, mask: 0xffffffff }, invert: true, table: 51820 },
    undefined,
  ],
  ["Cilium's proxy mark", { priority: 9, fwmark: { mark: 0x200, mask: 0xf00 }, table: 2004 }, undefined],
  // Table.
  ["a way into our pods' table", { priority: 500, table: 18099 }, "table"],
  ["a way into our hosts' table, at our last priority", { priority: 100, table: 18098 }, "table"],
];

test.each(cases)("%s", (_, rule, harm) => {
  expect(judgeRule(settings, { ...base, ...rule } as Rule)?.harm).toBe(harm);
});

test("both bits of the mark are ours", () => {
  const wide = parseSettings({ fwmark: "0x200000/0x600000" });
  const judge = (mark: number, mask: number) =>
    judgeRule(wide, { ...base, priority: 300, fwmark: { mark, mask } } as Rule)?.harm;
  expect(judge(0x200000, 0x200000)).toBe("mark");
  expect(judge(0x600000, 0x600000)).toBe("mark");
  expect(judge(0x400000, 0x400000)).toBe("mark");
  expect(judge(0x200000, 0x600000)).toBe("mark");
  expect(judge(0x100000, 0xffffffff)).toBeUndefined();
});
