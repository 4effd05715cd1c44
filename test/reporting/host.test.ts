// What is said of faults, against what is so: host (faults.ts has the table).

import { hostFaults } from "./support/faults.ts";
import { describeFaults } from "./support/table.ts";

describeFaults("reports on host faults", hostFaults);
