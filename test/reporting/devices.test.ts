// The reports of a node with a fault, against what is so: devices and processes.

import { describeFaults } from "./support/table.ts";

describeFaults("devices and processes");
