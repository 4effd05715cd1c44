// All cases of the checks.
import { arrivalCases } from "./arrival-cases.ts";
import type { Case } from "./facts.ts";
import { meshCases } from "./mesh-cases.ts";
import { nodeCases } from "./node-cases.ts";
import { peerCases } from "./peer-cases.ts";
import { podCases } from "./pod-cases.ts";

export const allCases: readonly Case[] = [
  ...nodeCases,
  ...meshCases,
  ...peerCases,
  ...arrivalCases,
  ...podCases,
];
