// Records of nodes: files of a records directory, and what `peer import` reads.
import { judgeRecord, recordFile } from "../../../src/plan/records/directory.ts";
import { parseRecords } from "../../../src/plan/records/record.ts";
import { hold, type Target } from "../target.ts";

export const nodeRecords: Target = {
  name: "node-records",
  form: "json",
  refusals: ["ParseError", "SyntaxError"],
  run(input) {
    const text = new TextDecoder().decode(input);
    const judged = judgeRecord("node-1.json", text, "node-2");
    hold("a reason is short and on one line", "record" in judged || /^[^\n]{1,300}$/.test(judged.reason));
    const records = parseRecords(JSON.parse(text));
    for (const record of records) {
      const again = judgeRecord(recordFile(record.name), JSON.stringify(record));
      hold("a record is read as it was written", "record" in again && Bun.deepEquals(again.record, record));
    }
    return records;
  },
};
