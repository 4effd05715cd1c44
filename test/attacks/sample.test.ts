// A few rounds of what every.test.ts plays.
import { describeAttacks } from "./support/describe.ts";

describeAttacks(6);
