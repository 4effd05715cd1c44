// One test a fault of a table, and a row a fault of what was said.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { describeKube } from "../../cluster/support/gate.ts";
import { withApiServer } from "../../cluster/support/with-api-server.ts";
import { withLab } from "../../lab/with-lab.ts";
import { FaultLab } from "./fault-lab.ts";
import { keepRows } from "./rows.ts";
import { type Row, recover, runFault } from "./run.ts";
import { type FaultTable, type TableTitle, tables } from "./tables.ts";

const rowTimeoutMs = 420_000;

/** The environment's FAULT has parts of the names of the faults to make, between bars; all are made without it. */
export function describeFaults(title: TableTitle): void {
  const table: FaultTable = tables[title];
  const parts = (process.env["FAULT"] ?? "").split("|");
  describeKube(`reports on faults of ${title}`, () => {
    const lab = withLab(title.replaceAll(" ", "-"));
    const server = withApiServer(lab, ["crd", "rbac", "policy"]);
    let faultLab: FaultLab;
    const rows: Row[] = [];
    beforeAll(async () => {
      faultLab = await FaultLab.create(lab, server, table);
      faultLab.startTraffic();
    }, rowTimeoutMs);
    afterAll(() => keepRows(title, rows));
    for (const fault of table.faults.filter(({ name }) => parts.some((part) => name.includes(part))))
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
