// Texts that people see are kept in test/cli/golden and compared to the letter.
// UPDATE_GOLDEN=1 writes what is printed now; the diff is then for review.
import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";

const directory = `${import.meta.dir}/golden`;

export function expectGolden(name: string, text: string): void {
  const file = `${directory}/${name}.txt`;
  if (process.env["UPDATE_GOLDEN"] === "1") {
    mkdirSync(directory, { recursive: true });
    writeFileSync(file, text);
  }
  expect(existsSync(file) ? readFileSync(file, "utf8") : `(no ${file}: run with UPDATE_GOLDEN=1)`).toBe(text);
}
