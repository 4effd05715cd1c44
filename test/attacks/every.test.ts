// Attacks with variations drawn at random, under settings drawn at random. Runs only if it is named.
//
//   ATTACK_RUNS=2000 ATTACK_SEED=7 ./scripts/test attacks
import { describeAttacks } from "./support/describe.ts";

describeAttacks(100);
