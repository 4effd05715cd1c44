// Ranges as configured. Witness for what is in a subnet: the package ip-cidr.
import { expect, test } from "bun:test";
import IPCIDR from "ip-cidr";
import { countAddresses } from "../../src/ipam/allocate.ts";
import { compareIps, increment } from "../../src/ipam/order.ts";
import { parseRange, parseRangeSets, rangeSetsOfPodCIDRs } from "../../src/ipam/range.ts";
import { ParseError } from "../../src/net/error.ts";
import { formatIp, ipBytes } from "../../src/net/ip.ts";

test.each([
  [
    { subnet: "10.1.0.0/24" },
    { family: 4, subnet: "10.1.0.0/24", first: "10.1.0.1", last: "10.1.0.254", gateway: "10.1.0.1" },
  ],
  [
    { subnet: "FD00:0::/64" },
    {
      family: 6,
      subnet: "fd00::/64",
      first: "fd00::1",
      last: "fd00::ffff:ffff:ffff:ffff",
      gateway: "fd00::1",
    },
  ],
  [
    { subnet: "10.1.0.0/30", gateway: "10.1.0.2" },
    { family: 4, subnet: "10.1.0.0/30", first: "10.1.0.1", last: "10.1.0.2", gateway: "10.1.0.2" },
  ],
  [
    { subnet: "10.1.0.0/16", rangeStart: "10.1.5.0", rangeEnd: "10.1.5.255", gateway: "10.1.255.254" },
    { family: 4, subnet: "10.1.0.0/16", first: "10.1.5.0", last: "10.1.5.255", gateway: "10.1.255.254" },
  ],
  [
    { subnet: "fd00::/126", rangeStart: "fd00:0::2", rangeEnd: "" },
    { family: 6, subnet: "fd00::/126", first: "fd00::2", last: "fd00::3", gateway: "fd00::1" },
  ],
])("%j", (conf, range) => {
  expect(parseRange(conf, "r")).toEqual(range as never);
});

test.each([
  ["10.1.0.0/24", 'r must be an object with a "subnet"'],
  [{}, "r.subnet must be a non-empty string"],
  [{ subnet: 10 }, "r.subnet must be a non-empty string"],
  [{ subnet: "10.1/16" }, 'r.subnet: "10.1" is not an IP address'],
  [{ subnet: "10.1.0.0" }, 'r.subnet: "10.1.0.0" is not a CIDR (expected ADDRESS/LENGTH)'],
  [
    { subnet: "10.1.0.5/24" },
    'r.subnet: "10.1.0.5/24" has bits set after its length; the subnet is 10.1.0.0/24',
  ],
  [{ subnet: "10.1.0.0/31" }, "r.subnet: 10.1.0.0/31 is too small to allocate from; use a /30 or shorter"],
  [{ subnet: "10.1.0.0/32" }, "r.subnet: 10.1.0.0/32 is too small to allocate from; use a /30 or shorter"],
  [{ subnet: "fd00::/127" }, "r.subnet: fd00::/127 is too small to allocate from; use a /126 or shorter"],
  [{ subnet: "fd00::/128" }, "r.subnet: fd00::/128 is too small to allocate from; use a /126 or shorter"],
  [
    { subnet: "10.1.0.0/24", rangeStart: "10.2.0.1" },
    "r.rangeStart: 10.2.0.1 is not one of the addresses of 10.1.0.0/24 (10.1.0.1 to 10.1.0.254)",
  ],
  [
    { subnet: "10.1.0.0/24", rangeEnd: "10.1.0.255" },
    "r.rangeEnd: 10.1.0.255 is not one of the addresses of 10.1.0.0/24 (10.1.0.1 to 10.1.0.254)",
  ],
  [
    { subnet: "10.1.0.0/24", gateway: "fd00::1" },
    "r.gateway: fd00::1 is not one of the addresses of 10.1.0.0/24 (10.1.0.1 to 10.1.0.254)",
  ],
  [{ subnet: "10.1.0.0/24", gateway: "x" }, 'r.gateway: "x" is not an IP address'],
  [{ subnet: "10.1.0.0/24", gateway: 7 }, "r.gateway must be a non-empty string"],
  [
    { subnet: "10.1.0.0/24", rangeStart: "10.1.0.9", rangeEnd: "10.1.0.8" },
    "r.rangeStart: 10.1.0.9 is after the range's end, 10.1.0.8",
  ],
])("%j is refused: %s", (conf, message) => {
  expect(() => parseRange(conf, "r")).toThrow(new ParseError(message));
});

test("sets keep their order; absent means none", () => {
  const sets = parseRangeSets(
    [[{ subnet: "fd00::/64" }], [{ subnet: "10.2.0.0/24" }, { subnet: "10.1.0.0/24" }]],
    "s",
  );
  expect(sets.map((set) => set.map(({ subnet }) => subnet))).toEqual([
    ["fd00::/64"],
    ["10.2.0.0/24", "10.1.0.0/24"],
  ]);
  expect(parseRangeSets(undefined, "s")).toEqual([]);
});

test.each([
  [{}, "s must be a list"],
  [[{}], "s[0] must be a list"],
  [[[]], 's[0] is empty: it needs at least one {"subnet": …}'],
  [
    [[{ subnet: "10.1.0.0/24" }, { subnet: "fd00::/64" }]],
    "s[0] mixes IPv4 and IPv6: a pod gets one address of each set, so make it two sets",
  ],
  [
    [[{ subnet: "10.1.0.0/16", rangeEnd: "10.1.0.9" }], [{ subnet: "10.1.0.0/24", rangeStart: "10.1.0.9" }]],
    "s[1][0]: 10.1.0.0/24 (10.1.0.9 to 10.1.0.254) overlaps 10.1.0.0/16 (10.1.0.1 to 10.1.0.9) of s[0][0]",
  ],
])("%j is refused: %s", (conf, message) => {
  expect(() => parseRangeSets(conf, "s")).toThrow(new ParseError(message));
});

test("two parts of one subnet are no overlap", () => {
  const parts = [
    { subnet: "10.1.0.0/24", rangeEnd: "10.1.0.9" },
    { subnet: "10.1.0.0/24", rangeStart: "10.1.0.10" },
  ];
  expect(parseRangeSets([parts], "s")[0]).toHaveLength(2);
});

test("a node's pod CIDRs become one set a family", () => {
  const sets = rangeSetsOfPodCIDRs(["10.1.0.0/24", "fd00:1::/64", "10.2.0.0/24"]);
  expect(sets.map((set) => set.map(({ subnet }) => subnet))).toEqual([
    ["10.1.0.0/24", "10.2.0.0/24"],
    ["fd00:1::/64"],
  ]);
  expect(rangeSetsOfPodCIDRs([])).toEqual([]);
  expect(() => rangeSetsOfPodCIDRs(["10.1.0.0/24", "10.1.0.0/16"])).toThrow("overlaps");
});

test("first, last and count agree with ip-cidr for subnets of every length", () => {
  const count = (witness: IPCIDR) => BigInt(witness.size.toString());
  for (let length = 1; length <= 126; length++) {
    const v6 = new IPCIDR(`2001:db8:feed:beef:dead:cafe:1234:5678/${length}`);
    const range6 = parseRange({ subnet: `${formatIp(ipBytes(v6.start() as string))}/${length}` }, "r");
    expect(range6.first).toBe(next(v6.start() as string));
    expect(range6.last).toBe(formatIp(ipBytes(v6.end() as string)));
    expect(countAddresses([range6])).toBe(count(v6) - 2n);
    if (length > 30) continue;
    const v4 = new IPCIDR(`172.21.203.77/${length}`);
    const range4 = parseRange({ subnet: `${v4.start()}/${length}` }, "r");
    expect(range4.first).toBe(next(v4.start() as string));
    expect(next(range4.last)).toBe(v4.end() as string);
    expect(countAddresses([range4])).toBe(count(v4) - 3n);
  }
});

function next(ip: string): string {
  const bytes = ipBytes(ip);
  increment(bytes);
  return formatIp(bytes);
}

test("addresses are ordered, and the next one carries over", () => {
  const rows = [
    ["10.0.0.255", "10.0.1.0"],
    ["9.255.255.255", "10.0.0.0"],
    ["fd00::ffff", "fd00::1:0"],
    ["::", "::1"],
  ] as const;
  for (const [ip, following] of rows) {
    expect(next(ip)).toBe(following);
    expect([compareIps(ip, following) < 0, compareIps(following, ip) > 0, compareIps(ip, ip)]).toEqual([
      true,
      true,
      0,
    ]);
  }
  expect(next("255.255.255.255")).toBe("0.0.0.0");
});
