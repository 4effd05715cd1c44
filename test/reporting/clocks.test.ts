// The reports of a node with a fault, against what is so: clocks.

import { describeFaults } from "./support/table.ts";

describeFaults("clocks");
