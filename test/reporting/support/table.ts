// One test a fault of a table, and the table of what was said: printed, and kept for the document.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { describeKube } from "../../cluster/support/gate.ts";
import { withApiServer } from "../../cluster/support/with-api-server.ts";
import type { AgentOptions } from "../../lab/agent.ts";
import { repository } from "../../lab/paths.ts";
import { withLab } from "../../lab/with-lab.ts";
import { FaultLab } from "./fault-lab.ts";
import type { Fault } from "./faults.ts";
import { type Row, recover, runFault } from "./run.ts";

const rowTimeoutMs = 300_000;

/** `only`: the environment's FAULT, a part of the name of the faults to make. */
export function describeFaults(title: string, faults: readonly Fault[], options: AgentOptions = {}): void {
  const only = process.env["FAULT"] ?? "";
  describeKube(title, () => {
    const lab = withLab(title.replaceAll(" ", "-"));
    const server = withApiServer(lab, ["crd", "rbac", "policy"]);
    let faultLab: FaultLab;
    const rows: Row[] = [];
    beforeAll(async () => {
      faultLab = await FaultLab.create(lab, server, options);
    }, rowTimeoutMs);
    afterAll(() => {
      const directory = `${repository}/.cache/reporting`;
      mkdirSync(directory, { recursive: true });
      writeFileSync(`${directory}/${title.replaceAll(" ", "-")}.json`, JSON.stringify(rows, undefined, 1));
    });
    for (const fault of faults.filter(({ name }) => name.includes(only)))
      test(
        fault.name,
        async () => {
          const row = await runFault(faultLab, fault);
          rows.push(row);
          await recover(faultLab, fault);
          expect(row.untruths).toEqual([]);
        },
        rowTimeoutMs,
      );
  });
}
