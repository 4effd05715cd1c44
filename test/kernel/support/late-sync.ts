// Run inside a lab node: plans a sync, carries it out when standard input ends, and then takes back what is for pods
// that ended meanwhile. Says what it has done on standard error.
import { applySteps } from "../../../src/reconcile/apply.ts";
import { takeBackRoutes } from "../../../src/reconcile/removal.ts";
import { Session } from "../../../src/reconcile/session.ts";

using session = new Session(process.argv[2] as string, Date.now);
const plan = session.plan();
console.error("planned");
await Bun.stdin.text();
applySteps(plan.steps, session.kernel);
console.error("applied");
await Bun.sleep(Number(process.argv[3]));
takeBackRoutes(plan, session.store, session.kernel);
