// The reports of a node with a fault, against what is so: rules and routes.

import { describeFaults } from "./support/table.ts";

describeFaults("rules and routes");
