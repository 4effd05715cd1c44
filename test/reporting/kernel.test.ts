// What is said of faults, against what is so: kernel (faults.ts has the table).

import { kernelFaults } from "./support/faults.ts";
import { describeFaults } from "./support/table.ts";

describeFaults("reports on kernel faults", kernelFaults);
