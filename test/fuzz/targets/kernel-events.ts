// The kernel's events about links, addresses, routes, rules and firewall tables.
import { firewallEvents, routeEvents } from "../../../src/netlink/events.ts";
import type { Target } from "../target.ts";

export const kernelEvents: Target = {
  name: "kernel-events",
  form: "netlink",
  refusals: ["DecodeError"],
  run: (input) => [routeEvents.read(input, input.length), firewallEvents.read(input, input.length)],
};
