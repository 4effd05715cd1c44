// Frames and acknowledgements: captured as in rtnetlink.test.ts, here with the netlink header.
import { describe, expect, test } from "bun:test";
import { CTRL_CMD_GETFAMILY, controlMessage, GENL_ID_CTRL } from "../../src/wire/genl.ts";
import { beginMessage, endMessage, nextMessage, readAck, readHeader } from "../../src/wire/nlmsg.ts";
import { Writer } from "../../src/wire/writer.ts";
import { bytesOf } from "./bytes.ts";

function ackOf(hex: string) {
  const bytes = bytesOf(hex);
  return readAck(bytes, readHeader(bytes, 0, bytes.length));
}

describe("acknowledgements", () => {
  test("ip link set dev v0 up: done", () => {
    const hex = "2400000002000001d3ef006b9b460000 00000000 2000000010000500d3ef006b00000000";
    expect(ackOf(hex)).toEqual({ errno: 0 });
  });

  test("ip route add 10.9.0.0/16 via 10.77.0.1: refused, with the request repeated", () => {
    const hex = `6000000002000002d3ef006b13470000
      9bffffff
      2c00000018000506d3ef006b00000000 02100000fe03000100000000 080001000a090000 080005000a4d0001
      200001004e657874686f702068617320696e76616c6964206761746577617900`;
    expect(ackOf(hex)).toEqual({ errno: 101, extack: "Nexthop has invalid gateway" });
  });

  test("the same with NETLINK_CAP_ACK: only the request's header is repeated", () => {
    const hex = `4400000002000003d3ef006b13470000
      9bffffff
      2c00000018000506d3ef006b00000000
      200001004e657874686f702068617320696e76616c6964206761746577617900`;
    expect(ackOf(hex)).toEqual({ errno: 101, extack: "Nexthop has invalid gateway" });
  });

  test("ip route show table 777: a dump that ends with an error", () => {
    const hex = `3800000003002202d3ef006b18470000
      feffffff
      23000100697076343a20464942207461626c6520646f6573206e6f742065786973740000`;
    expect(ackOf(hex)).toEqual({ errno: 2, extack: "ipv4: FIB table does not exist" });
  });

  test("one that is cut off is refused", () => {
    expect(() => ackOf("1200000002000000d3ef006b13470000 9bff")).toThrow("nlmsgerr: has 2 bytes");
    expect(() => ackOf("1400000002000002d3ef006b13470000 9bffffff")).toThrow("less than 20");
  });
});

describe("frames", () => {
  test("two messages follow each other at multiples of 4", () => {
    const writer = new Writer(8);
    for (const payload of ["aabbcc", "dd"]) {
      const start = beginMessage(writer, 24, 1, 7);
      writer.raw(bytesOf(payload));
      endMessage(writer, start);
    }
    const bytes = writer.written;
    const first = readHeader(bytes, 0, bytes.length);
    expect(first).toEqual({ type: 24, flags: 1, sequence: 7, port: 0, at: 16, end: 19 });
    const second = readHeader(bytes, nextMessage(first), bytes.length);
    expect(bytes.subarray(second.at, second.end).toHex()).toBe("dd");
    expect(nextMessage(second)).toBe(bytes.length);
  });

  test("a length that does not fit is refused", () => {
    for (const hex of ["0f000000020000000000000000000000", "11000000020000000000000000000000", "1000"])
      expect(() => readHeader(bytesOf(hex), 0, bytesOf(hex).length)).toThrow("nlmsghdr: a message of");
  });
});

describe("genl ctrl get name nlctrl", () => {
  test("request", () => {
    const writer = new Writer();
    const start = beginMessage(writer, GENL_ID_CTRL, 5, 0x6b00efd3);
    // This tool leaves the version at 0, which the controller does not look at.
    controlMessage.write(writer, { cmd: CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME: "nlctrl" });
    endMessage(writer, start);
    expect(writer.written.toHex()).toBe("2000000010000500d3ef006b00000000030000000b0002006e6c6374726c0000");
  });

  test("answer", () => {
    const bytes = bytesOf(`8800000010000000d3ef006b1d470000
      01020000
      0b0002006e6c6374726c0000
      0600010010000000
      0800030002000000 0800040000000000 0800050000000000
      2c00060014000100080001000300000008000200 0e00000014000200080001000a000000080002000c000000
      1c0007001800010008000200100000000b0001006e6f746966790000`);
    const { at, end } = readHeader(bytes, 0, bytes.length);
    expect(controlMessage.read(bytes, at, end)).toMatchObject({
      CTRL_ATTR_FAMILY_ID: 16,
      CTRL_ATTR_FAMILY_NAME: "nlctrl",
    });
  });
});
