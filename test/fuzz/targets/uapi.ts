// The answers of a userspace WireGuard. They arrive in pieces, which must not make a difference.
import { isIp } from "../../../src/net/ip.ts";
import { GetParser, parseErrno } from "../../../src/wireguard/text.ts";
import { hold, type Target } from "../target.ts";
import { isPrefix } from "./wireguard-netlink.ts";

export const uapi: Target = {
  name: "uapi",
  form: "text",
  refusals: ["UapiTextError", "ParseError"],
  run(input) {
    const parser = new GetParser("wg0", new Map());
    const answer = parser.finish(input);
    checkNumbers(answer.errno, answer.device);
    for (const { endpoint, allowedIPs } of answer.device.peers) {
      hold(
        "an endpoint is an address and a port",
        endpoint === undefined || (isIp(endpoint.ip) && endpoint.port < 65_536),
      );
      hold("allowed IPs are prefixes", allowedIPs.every(isPrefix));
    }
    const again = new GetParser("wg0", parser.byText);
    const half = input.subarray(0, input.length >> 1);
    const inPieces = again.finish(input.subarray(again.take(half)));
    hold("an answer in pieces is the same", Bun.deepEquals(inPieces, answer));
    return [answer, parseErrno(new TextDecoder().decode(input))];
  },
};

function checkNumbers(
  errno: number,
  { listenPort, fwmark, peers }: ReturnType<GetParser["finish"]>["device"],
): void {
  const numbers = [errno, listenPort, fwmark];
  for (const peer of peers)
    numbers.push(peer.keepaliveSeconds, peer.lastHandshakeMs, peer.rxBytes, peer.txBytes);
  hold(
    "numbers are whole and not below 0",
    numbers.every((number) => Number.isInteger(number) && number >= 0),
  );
}
