// Finds the parts of the mesh that this host does not support: it reads a few small files and
// lists that are read anyway. plan/mesh/capabilities.ts decides what follows.
import { exists } from "../linux/file.ts";
import type { Family } from "../net/ip.ts";
import type { Link, Rule } from "../net/objects.ts";
import type { Capabilities } from "../plan/mesh/capabilities.ts";
import { ipv6MinimumMtu } from "../plan/mesh/mtu.ts";
import { slots } from "../plan/peers/path.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import { readSysctl } from "./apply.ts";

const families: readonly Family[] = [4, 6];
const ipv6Directory = "net/ipv6/conf";

/** `rules`: all of the host, of both families. `mtu`: what our devices have or will have. */
export function observeCapabilities(
  settings: Settings,
  links: readonly Pick<Link, "name">[],
  rules: readonly Rule[],
  mtu: number,
): Capabilities {
  const fault = findIpv6Fault(settings, links, mtu);
  // Every family has rules of its own from the beginning (local, main), if it has rules at all.
  const routing = families.filter((family) => rules.some((rule) => rule.family === family));
  const hasIpv6 = exists(`/proc/sys/${ipv6Directory}`);
  return {
    tunnel: fault === undefined ? families : [4],
    routing,
    forwarding: hasIpv6 && readSysctl(`${ipv6Directory}/all/forwarding`) === "1" ? families : [4],
    missing: [
      ...(fault === undefined ? [] : [{ family: 6, why: fault } as const]),
      ...families
        .filter((family) => !routing.includes(family) && (family === 4 || hasIpv6))
        .map((family) => ({
          family,
          why: `the kernel has no routing rules for IPv${family}, so none of it takes the tunnel`,
        })),
    ],
  };
}

/** Returns a sentence if our devices cannot carry IPv6. */
function findIpv6Fault(
  settings: Settings,
  links: readonly Pick<Link, "name">[],
  mtu: number,
): string | undefined {
  if (!exists(`/proc/sys/${ipv6Directory}`)) return "the kernel has no IPv6, so none of it takes the tunnel";
  for (const slot of slots) {
    const name = slotDevice(settings, slot);
    // A device that is made later begins with the default.
    const from = links.some((link) => link.name === name) ? name : "default";
    if (readSysctl(`${ipv6Directory}/${from}/disable_ipv6`) === "1")
      return `IPv6 is switched off (net.ipv6.conf.${from}.disable_ipv6 is 1), so none of it takes the tunnel`;
  }
  return mtu < ipv6MinimumMtu
    ? `the devices' MTU of ${mtu} is less than the ${ipv6MinimumMtu} that IPv6 needs, so none of it takes the tunnel`
    : undefined;
}

/** A text that is equal for as long as the sysctls that `observeCapabilities` reads are; for the agent's poll. */
export function readFamilyState(settings: Settings): string {
  return ["default", ...slots.map((slot) => slotDevice(settings, slot))]
    .map((name) => readSysctl(`${ipv6Directory}/${name}/disable_ipv6`) ?? "-")
    .join("");
}
