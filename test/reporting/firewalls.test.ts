// The reports of a node with a fault, against what is so: firewalls and addresses.

import { describeFaults } from "./support/table.ts";

describeFaults("firewalls and addresses");
