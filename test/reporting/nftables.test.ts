// The reports of a node with a fault, against what is so: nftables and sysctls.

import { describeFaults } from "./support/table.ts";

describeFaults("nftables and sysctls");
