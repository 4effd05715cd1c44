// The kernel's WireGuard: its answers about a device, of which several make one, and the number of its family.
import { isIp } from "../../../src/net/ip.ts";
import { parsePrefix } from "../../../src/net/prefix.ts";
import { controlMessage, GENL_ID_CTRL } from "../../../src/wire/genl.ts";
import { deviceMessage } from "../../../src/wire/wireguard.ts";
import { DeviceMerge } from "../../../src/wireguard/kernel.ts";
import { hold, type Target } from "../target.ts";
import { readMessages } from "./netlink.ts";

export const wireguardNetlink: Target = {
  name: "wireguard-netlink",
  form: "netlink",
  refusals: ["DecodeError"],
  run(input) {
    const merge = new DeviceMerge("wg0");
    const others = readMessages(input, (type, bytes, at, end) => {
      if (type === GENL_ID_CTRL) return controlMessage.read(bytes, at, end);
      merge.add(deviceMessage.read(bytes, at, end));
      return undefined;
    });
    const device = merge.device();
    for (const { endpoint, allowedIPs } of device.peers) {
      hold("an endpoint is an address", endpoint === undefined || isIp(endpoint.ip));
      hold("allowed IPs are prefixes", allowedIPs.every(isPrefix));
    }
    return [device, others];
  },
};

export function isPrefix(text: string): boolean {
  try {
    parsePrefix(text);
    return true;
  } catch {
    return false;
  }
}
