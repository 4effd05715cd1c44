import { describe, expect, test } from "bun:test";
import IPCIDR from "ip-cidr";
import { ParseError } from "../../src/net/error.ts";
import { formatIp, ipBytes, isIp, parseIp } from "../../src/net/ip.ts";
import { formatKey, keyBytes, keyFromHex, keyToHex, parseKey } from "../../src/net/key.ts";
import { macBytes, parseMac } from "../../src/net/mac.ts";
import {
  comparePrefixes,
  parseInterfaceAddress,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
} from "../../src/net/prefix.ts";
import { suggest } from "../../src/net/suggest.ts";
import { makeRandom } from "../plan/random.ts";

describe("addresses", () => {
  // [typed, canonical] as `ip -6 route get` and inet_ntop(3) print them.
  const correct = [
    ["10.0.0.1", "10.0.0.1"],
    ["::", "::"],
    ["::1", "::1"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["fe80:0:0:0:0:0:0:0", "fe80::"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ["0:0:1::", "0:0:1::"],
  ] as const;
  test.each(correct)("%s is %s", (typed, canonical) => {
    expect(parseIp(typed)).toBe(canonical);
    expect(formatIp(ipBytes(canonical))).toBe(canonical);
  });

  const wrong = [
    "",
    "10.0.0",
    "10.0.0.256",
    "010.0.0.1",
    "10.0.0.1/24",
    "1:2:3:4:5:6:7",
    "1::2::3",
    ":::",
    "g::",
    "1:2:3:4:5:6:7:8::",
    "1.2.3.4::",
    "fe80::1%eth0",
    ":1:2:3:4:5:6:7:8",
  ];
  test.each(wrong)('"%s" is refused', (text) => {
    expect(isIp(text)).toBe(false);
    expect(() => parseIp(text)).toThrow(ParseError);
  });

  test("random addresses survive both ways", () => {
    const random = makeRandom(1);
    for (let i = 0; i < 2000; i++) {
      const bytes = new Uint8Array(random() < 0.5 ? 4 : 16).map(() =>
        random() < 0.5 ? 0 : Math.floor(random() * 256),
      );
      expect(ipBytes(formatIp(bytes))).toEqual(bytes);
    }
  });
});

describe("prefixes", () => {
  test("host bits are cleared in a prefix and kept in an interface address", () => {
    expect(parsePrefix("10.1.2.3/16")).toBe("10.1.0.0/16");
    expect(parsePrefix("2001:db8::ff/61")).toBe("2001:db8::/61");
    expect(parseInterfaceAddress("10.1.2.3/16")).toEqual({ ip: "10.1.2.3", length: 16 });
  });

  test.each(["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "::/129", "/24", "10.0.0.0/-1"])(
    '"%s" is refused',
    (text) => {
      expect(() => parsePrefix(text)).toThrow(ParseError);
    },
  );

  test("containment agrees with ip-cidr", () => {
    const random = makeRandom(2);
    const any = () => {
      const bytes = new Uint8Array(4).map((_, i) => (i === 0 ? 10 : Math.floor(random() * 3)));
      return parsePrefix(`${formatIp(bytes)}/${8 + Math.floor(random() * 25)}`);
    };
    for (let i = 0; i < 1500; i++) {
      const [a, b] = [any(), any()];
      const [inner, outer] = [new IPCIDR(b), new IPCIDR(a)];
      const witness = outer.contains(inner.start<string>()) && outer.contains(inner.end<string>());
      expect(prefixContains(a, b), `${a} ${b}`).toBe(witness);
      expect(prefixesOverlap(a, b)).toBe(prefixContains(a, b) || prefixContains(b, a));
    }
  });

  test("families never mix, and sort apart", () => {
    expect(prefixContains("0.0.0.0/0", "::/0")).toBe(false);
    expect(["::/0", "10.0.0.0/8", "10.0.0.0/7", "9.0.0.0/8"].sort(comparePrefixes)).toEqual([
      "9.0.0.0/8",
      "10.0.0.0/7",
      "10.0.0.0/8",
      "::/0",
    ]);
  });
});

describe("keys and MACs", () => {
  test("a key survives base64, bytes and hex", () => {
    const text = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="; // printed by `wg pubkey`
    expect(parseKey(text)).toBe(text);
    expect(formatKey(keyBytes(text))).toBe(text);
    expect(keyFromHex(keyToHex(text))).toBe(text);
  });

  test("a wrong key is refused without being repeated", () => {
    for (const text of ["", "secret", `${"A".repeat(44)}`, "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg"]) {
      expect(() => parseKey(text)).toThrow("not a WireGuard key");
      if (text !== "") expect(() => parseKey(text)).not.toThrow(text);
    }
  });

  test("MACs", () => {
    expect(parseMac("02:AB:00:00:00:01")).toBe("02:ab:00:00:00:01");
    expect([...macBytes("02:ab:00:00:00:01")]).toEqual([2, 0xab, 0, 0, 0, 1]);
    expect(() => parseMac("254")).toThrow(ParseError);
  });
});

test("suggestions: slips are recognised, other words are not", () => {
  const known = ["stateDir", "mtu", "ipam", "logLevel"];
  expect(suggest("statedir", known)).toBe("stateDir");
  expect(suggest("mut", known)).toBe("mtu");
  expect(suggest("ipma", known)).toBe("ipam");
  expect(suggest("portMappings", known)).toBeUndefined();
});
