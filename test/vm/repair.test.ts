// How the agent mends a mesh with the kernel's WireGuard. It takes too long for each run: see CONTRIBUTING.md.
import { guestTests } from "./guest.ts";

await guestTests(["test/vm/guest/repair.ts"], { timeoutMs: 1_200_000, testTimeoutMs: 700_000 });
