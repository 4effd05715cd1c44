// Five minutes of the search for faults, with the seed that the command takes unless told.
import { expect, test } from "bun:test";
import { runCommand } from "../lab/command.ts";
import { targets } from "./targets.ts";

const limitMs = 600_000;

test(
  "five minutes of damaged input find no fault in any reader",
  async () => {
    const said = await runCommand(["scripts/bun", "test/fuzz/main.ts", "--minutes", "5"]);
    const faults = said.matchAll(/^(\S+): \d+ executions, .* (\d+) faults$/gm);
    expect([...faults].map(([, target, count]) => [target, count])).toEqual(
      targets.map(({ name }) => [name, "0"]),
    );
  },
  limitMs,
);
