// The lab of a describe block, without a line of set-up in each test file.
import { afterAll, beforeAll } from "bun:test";
import { Lab, type LabOptions } from "./lab.ts";

const startTimeoutMs = 60_000;

/**
 * Returns a lab that is started before the other hooks of the block that calls this,
 * and ends after the block's tests. The block must have no other afterAll() that needs
 * the lab: Bun runs them in the order in which they were given.
 */
export function withLab(name: string, options: LabOptions = {}): Lab {
  const lab = new Lab(name, options);
  beforeAll(() => lab.start(), startTimeoutMs);
  afterAll(() => lab[Symbol.dispose]());
  return lab;
}
