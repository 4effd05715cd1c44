// The reports of a node with a fault, against what is so: keys and peers.

import { describeFaults } from "./support/table.ts";

describeFaults("keys and peers");
