// The lab of a describe block, without a line of set-up in each test file.
import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test";
import { Lab, type LabOptions } from "./lab.ts";

const startTimeoutMs = 60_000;

/**
 * Returns a lab that is started before the hooks that the block registers later, and ends after
 * the block's tests. Bun runs hooks in the order of their registration, so the block registers an
 * afterAll() that needs the lab before it calls this.
 */
export function withLab(name: string, options: LabOptions = {}): Lab {
  const lab = new Lab(name, options);
  beforeAll(() => lab.start(), startTimeoutMs);
  afterAll(() => lab[Symbol.dispose]());
  return lab;
}

/** Like withLab(), but each test of the block has a new lab, without the nodes of the one before it. */
export function withLabPerTest(name: string, options: LabOptions = {}): Lab {
  const lab = new Lab(name, options);
  beforeEach(() => lab.start(), startTimeoutMs);
  afterEach(() => lab[Symbol.dispose]());
  return lab;
}
