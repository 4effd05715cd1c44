// Tells the steps that only add to a mesh from those that move or remove something. Pure.
import type { PeerConfig } from "../../net/device.ts";
import type { Step } from "../step.ts";

/**
 * True if the step adds a route, allowed IPs of a peer, or elements of sets. It would replace a route with the same key, and
 * take an allowed IP from another peer. The caller must know that there is neither.
 */
export function isAddition(step: Step): boolean {
  if (step.do === "replaceRoute") return true;
  if (step.do === "applyFirewall") return step.commands.every((command) => command.do === "addElements");
  if (step.do !== "configureDevice" || step.privateKeyOf !== undefined) return false;
  const { peers = [], ...device } = step.config;
  const isAllowing = ({ publicKey: _, allowedIPs: __, ...rest }: PeerConfig) =>
    Object.keys(rest).length === 0;
  return Object.keys(device).length === 0 && peers.every(isAllowing);
}
