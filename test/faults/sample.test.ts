// A few of the faults that every.test.ts tries, of the verbs that a runtime calls all the time.
import { describeFaults } from "./support/describe.ts";

describeFaults(10, /^(chained|standalone) (ADD, then DEL|DEL)$/);
