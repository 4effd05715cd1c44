// src/netlink and src/wireguard against the kernel's WireGuard; and the tests of
// both backends, which outside have no kernel WireGuard to meet.
import { guestTests } from "./guest.ts";

await guestTests(["test/vm/guest/wireguard.ts", "test/kernel/netlink/wireguard.test.ts"]);
