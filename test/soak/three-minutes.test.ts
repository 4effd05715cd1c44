// Three minutes of the soak, which its own command runs for hours: every kind of disturbance comes at least twice.
import { expect, test } from "bun:test";
import { describeKernel } from "../kernel/support/gate.ts";
import { runCommand } from "../lab/command.ts";

/** With starting, the last rotation, and the time in which what was left behind may go. */
const limitMs = 900_000;

describeKernel("three nodes that are disturbed for three minutes", () => {
  test(
    "lose no packet, send none in plaintext and leave nothing behind",
    async () => {
      const said = await runCommand(["scripts/soak", "--minutes", "3", "--seed", "1"]);
      expect(said).toContain("nothing left behind, every packet accounted for");
    },
    limitMs,
  );
});
