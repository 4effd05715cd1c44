// Questions for one route and their answers, captured with
//   strace -e trace=sendmsg,recvmsg -e read=3 -e write=3 COMMAND
// (iproute2 6.1, Linux 6.18), the netlink header left out.
import { describe, expect, test } from "bun:test";
import { nexthops, routeMessage } from "../../src/wire/route.ts";
import { bytesOf, expectBothWays } from "./bytes.ts";

describe("route lookups", () => {
  test("several next hops", () => {
    const hops = bytesOf("1000000003000000080005000a000002 1000000007000000080005000a000003");
    expect(nexthops(hops)).toEqual([
      { interfaceIndex: 3, gateway: "10.0.0.2" },
      { interfaceIndex: 7, gateway: "10.0.0.3" },
    ]);
    expect(() => nexthops(hops.subarray(0, 30))).toThrow(
      "RTA_MULTIPATH: a next hop of 16 bytes, but 14 are left",
    );
    expect(() => nexthops(hops.subarray(0, 20))).toThrow("a next hop of 0 bytes, but 4 are left");
    expect(() => nexthops(new Uint8Array(8))).toThrow("a next hop of 0 bytes, but 8 are left");
  });

  test("ip route get fibmatch 198.18.0.1 mark 0x100000", () => {
    // RTM_F_LOOKUP_TABLE and RTM_F_FIB_MATCH; the route comes as it was made: ... mtu 1350 via 192.0.2.254
    const hex = "022000000000000000300000 08000100c6120001 0800100000001000";
    expectBothWays(routeMessage, hex, { rtm_dst_len: 32, rtm_flags: 0x3000, RTA_MARK: 0x100000 });
    const answer = `02180000fe03000100000000
      08000f00fe000000
      08000100c6120000
      0c000800 0800020046050000
      08000500c00002fe
      0800040003000000`;
    expectBothWays(routeMessage, answer, { rtm_type: 1, RTA_OIF: 3, RTA_METRICS: { RTAX_MTU: 1350 } });
  });
});
