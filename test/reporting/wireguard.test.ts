// What is said of faults, against what is so: wireguard (faults.ts has the table).

import { wireguardFaults } from "./support/faults.ts";
import { describeFaults } from "./support/table.ts";

describeFaults("reports on wireguard faults", wireguardFaults);
