// What is said of faults in strict mode, against what is so (faults.ts has the table).
import { strictFaults } from "./support/faults.ts";
import { describeFaults } from "./support/table.ts";

describeFaults("reports on faults in strict mode", strictFaults, { args: ["--mode", "strict"] });
