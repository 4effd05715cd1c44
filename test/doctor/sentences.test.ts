// Every sentence that doctor can say is said by a case, in which it is right, and a case of one check is told by
// no other. The list of sentences is read from the source of the checks, so that a new sentence needs a case.
import { expect, test } from "bun:test";
import { Glob } from "bun";
import { examine } from "../../src/doctor/examine.ts";
import type { Facts } from "../../src/doctor/facts.ts";
import { readSentences } from "../docs/support/sentences.ts";
import { allCases } from "./cases.ts";
import { healthy } from "./facts.ts";

const directory = `${import.meta.dir}/../../src/doctor`;
const files = [...new Glob("*-checks.ts").scanSync(directory)].sort();
const sentences = files.flatMap((file) => readSentences(`${directory}/${file}`, ["impact", "name"]));
const texts = [healthy, ...allCases.map(([, facts]) => facts)].flatMap((facts) =>
  examine(facts).map(({ summary, details = [], remedy = "" }) => [summary, ...details, remedy].join("\n")),
);

/** What is told beside the finding of a case, because it is so too: without nftables, say, nothing is marked either. */
const alongside: Readonly<Record<string, readonly string[]>> = {
  "no nftables": ["reverse path"],
  "no nftables in strict mode": ["reverse path"],
  "a strict uplink without nftables": ["nftables"],
  "an address that is no node IP, without nftables": ["nftables", "reverse path"],
  "the same, and a kernel without nftables": ["nftables", "reverse path"],
  "a device is larger than what fits": ["pod mtu"],
  "that does not make records refused": ["Kubernetes API"],
};

test.each(sentences.map(({ text, pattern }) => [text, pattern] as const))("a case has: %s", (_, pattern) => {
  expect(texts.some((text) => pattern.test(text))).toBe(true);
});

test.each(allCases)("no other check complains if: %s", (change, facts, check) => {
  expect(complaintsBeside(facts, check)).toEqual([...(alongside[change] ?? [])]);
});

function complaintsBeside(facts: Facts, check: string): string[] {
  return examine(facts)
    .filter(({ name, level }) => level !== "ok" && name !== check)
    .map(({ name }) => name);
}
