// The reports of a node with a fault, against what is so: records and disks.

import { describeFaults } from "./support/table.ts";

describeFaults("records and disks");
