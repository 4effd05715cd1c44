// src/netlink and src/wireguard against the kernel's WireGuard.
import { guestTests } from "./guest.ts";

await guestTests(["test/vm/guest/wireguard.ts"], { testTimeoutMs: 60_000 });
