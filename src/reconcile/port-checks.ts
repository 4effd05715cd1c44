// Sends port checks, and reads what has arrived of those that peers have sent (plan/report/port-evidence.ts).
import { SOCK_DGRAM, SOL_SOCKET, Socket } from "../linux/socket.ts";
import { SysError } from "../linux/syscall.ts";
import { type Family, familyOf } from "../net/ip.ts";
import type { IpPort } from "../net/ip-port.ts";
import { checkSet } from "../plan/firewall/port-checks.ts";
import { families } from "../plan/firewall/sets.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import { slots } from "../plan/peers/path.ts";
import type { CheckCounters } from "../plan/report/port-evidence.ts";
import { type Settings, slotPort } from "../plan/settings/settings.ts";
import { AF_INET, AF_INET6 } from "../wire/codec.ts";
import { encodeInetAddress } from "../wire/inet-address.ts";
import { emptyInitiation } from "../wire/wireguard-message.ts";
import type { Kernel } from "./kernel.ts";

const SO_MARK = 36;

/** Reads what was counted at the ports; undefined if nothing counts. Throws NetlinkError. */
export function readPortChecks(settings: Settings, { firewall }: Kernel): CheckCounters | undefined {
  const table = { family: "inet", name: firewallName } as const;
  if (firewall?.handle(table) === undefined) return undefined;
  const names = new Set(
    slots.flatMap((slot) => families.map((family) => checkSet(family, slotPort(settings, slot)))),
  );
  return firewall.counters(table, (set) => names.has(set));
}

/**
 * Sends one port check to each target, from a port that the kernel chooses anew. `mark`: that of encrypted
 * packets, whose routes it takes. A check that cannot be sent is a check that does not arrive.
 */
export function sendPortChecks(targets: readonly IpPort[], mark: number): void {
  for (const family of families) {
    const those = targets.filter(({ ip }) => familyOf(ip) === family);
    if (those.length > 0) attemptAll(family, those, mark);
  }
}

function attemptAll(family: Family, targets: readonly IpPort[], mark: number): void {
  for (const target of targets)
    try {
      // A socket of its own for each: the answer of a firewall to one would be an error of the next.
      using socket = Socket.open(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0, "a port check");
      socket.trySetOption(SOL_SOCKET, SO_MARK, mark);
      socket.connect(encodeInetAddress(target));
      socket.send(emptyInitiation);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
    }
}
