// Exemptions from host encryption, as text and as a value.
import { describe, expect, test } from "bun:test";
import { ParseError } from "../../src/net/error.ts";
import { type Exemption, formatExemption, parseExemption } from "../../src/net/exemption.ts";
import { formatIpPort, parseIpPort } from "../../src/net/ip-port.ts";

const correct: readonly [string, Exemption, string?][] = [
  ["192.0.2.1", { kind: "address", ip: "192.0.2.1" }],
  ["2001:DB8:0::1", { kind: "address", ip: "2001:db8::1" }, "2001:db8::1"],
  // Without brackets the last number is a part of the address.
  ["fd00::1:6443", { kind: "address", ip: "fd00::1:6443" }],
  ["192.0.2.1:6443", { kind: "service", ip: "192.0.2.1", port: 6443 }],
  ["[2001:db8:0::1]:1", { kind: "service", ip: "2001:db8::1", port: 1 }, "[2001:db8::1]:1"],
  ["tcp/2379", { kind: "port", protocol: "tcp", port: 2379 }],
  ["udp/65535", { kind: "port", protocol: "udp", port: 65535 }],
];

describe("an exemption", () => {
  test.each(correct)("%s", (text, exemption, canonical = text) => {
    expect(parseExemption(text)).toEqual(exemption);
    expect(formatExemption(exemption)).toBe(canonical);
    expect(parseExemption(canonical)).toEqual(exemption);
  });

  test.each([
    ["", '"" is none of IP, IP:PORT (TCP), tcp/PORT and udp/PORT'],
    ["6443", '"6443" is none of'],
    ["10.0.0.0/8", '"10.0.0.0/8" is none of'],
    ["sctp/80", '"sctp/80" is none of'],
    ["TCP/80", '"TCP/80" is none of'],
    ["node-1:80", '"node-1:80" is not IP:PORT (192.0.2.1:6443 or [2001:db8::1]:6443)'],
    [":80", '":80" is not IP:PORT'],
    ["[192.0.2.1]:80", '"[192.0.2.1]:80" is not IP:PORT'],
    ["[::1]", '"[::1]" is not IP:PORT'],
    ["[fe80::1%eth0]:80", '"[fe80::1%eth0]:80" is not IP:PORT'],
    ["tcp/0", '"tcp/0" has the port "0", not a number from 1 to 65535'],
    ["tcp/65536", '"tcp/65536" has the port "65536"'],
    ["udp/", '"udp/" has the port ""'],
    ["tcp/80/90", '"tcp/80/90" has the port "80/90"'],
    ["192.0.2.1:", '"192.0.2.1:" has the port ""'],
    ["192.0.2.1:0x50", 'has the port "0x50"'],
    ["192.0.2.1:080", 'has the port "080"'],
    ["192.0.2.1: 80", 'has the port " 80"'],
    ["192.0.2.1:1e3", 'has the port "1e3"'],
    ["[::1]:-1", 'has the port "-1"'],
  ])("%s is refused", (text, sentence) => {
    expect(() => parseExemption(text)).toThrow(ParseError);
    expect(() => parseExemption(text)).toThrow(sentence);
  });
});

describe("an address with a port", () => {
  test("needs both, and brackets exactly if the address is IPv6", () => {
    for (const text of ["192.0.2.1:6443", "[2001:db8::1]:6443"])
      expect(formatIpPort(parseIpPort(text))).toBe(text);
    for (const text of ["192.0.2.1", "2001:db8::1:6443", "[2001:db8::1]", "[192.0.2.1]:1", "[]:1", "tcp/1"])
      expect(() => parseIpPort(text)).toThrow(ParseError);
  });
});
