// The reports of a node with a fault, against what is so: strict mode.

import { describeFaults } from "./support/table.ts";

describeFaults("strict mode");
