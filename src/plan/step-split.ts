// Splits steps into single changes, because one request to the kernel changes many objects: two plans are
// compared change by change.
import type { PeerConfig } from "../net/device.ts";
import type { NftCommand } from "../net/nftables.ts";
import type { DeviceStep, Step } from "./step.ts";

/** Returns steps of one change each that do the same as `step`. */
export function splitStep(step: Step): Step[] {
  switch (step.do) {
    case "configureDevice":
      return splitDevice(step);
    case "applyFirewall":
      return step.commands.flatMap(splitCommand).map((command) => ({ ...step, commands: [command] }));
    default:
      return [step];
  }
}

function splitDevice(step: DeviceStep): Step[] {
  const { peers = [], ...device } = step.config;
  const hasOwn = step.privateKeyOf !== undefined || Object.keys(device).length > 0;
  const { privateKeyOf: _, ...place } = step;
  return [
    ...(hasOwn ? [{ ...step, config: device }] : []),
    ...peers.flatMap(splitPeer).map((peer) => ({ ...place, config: { peers: [peer] } })),
  ];
}

/** A list that replaces another is one change. A list that is absent stays so: an empty one takes all away. */
function splitPeer(config: PeerConfig): PeerConfig[] {
  const { publicKey, allowedIPs = [], ...rest } = config;
  if (allowedIPs.length === 0 || config.replaceAllowedIPs) return [config];
  const isMore = Object.keys(rest).length > 0;
  return [
    ...(isMore ? [{ publicKey, ...rest }] : []),
    ...allowedIPs.map((prefix) => ({ publicKey, allowedIPs: [prefix] })),
  ];
}

function splitCommand(command: NftCommand): NftCommand[] {
  if (command.do !== "addElements" && command.do !== "deleteElements") return [command];
  return command.elements.map((element) => ({ ...command, elements: [element] }));
}
