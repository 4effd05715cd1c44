// The agent's promises on a mesh with the kernel's WireGuard. Outside, the same
// is shown with a userspace implementation, which counts and forgets in other ways.
import { guestTests } from "./guest.ts";

await guestTests(["test/vm/guest/observation.ts", "test/vm/guest/mesh.ts"], {
  // An emulated machine gets what the job beside it leaves of two processors.
  timeoutMs: 1_200_000,
  // A rotation of three nodes at once, and their agents started anew.
  testTimeoutMs: 700_000,
});
