// The judge of reports: each rule is seen to find its untruth, and to be content otherwise.
import { expect, test } from "bun:test";
import type { Truth } from "./support/fault-lab.ts";
import { judge, judgeEvidence, type Sample } from "./support/judge.ts";
import type { Reports } from "./support/reports.ts";

const encrypted: Truth = { sent: 8, delivered: 8, plaintext: 0 };
const plaintext: Truth = { sent: 8, delivered: 8, plaintext: 8 };
const lost: Truth = { sent: 8, delivered: 0, plaintext: 0 };
const peer = { name: "n2", state: "encrypted", reach: "tunnel" };
const content: Reports = {
  status: { exitCode: 0, peer, pending: [], countedSinceMs: 0 },
  doctor: { exitCode: 0, findings: [] },
  ...{ warnings: [], ready: "ok", metric: "encrypted tunnel", conditions: {} },
};
const expectation = { knownAfterS: 1, hasAgent: true, madeAtMs: 1000 };

function judged(truth: Truth, reports: Partial<Reports> = {}, more: Partial<Sample> = {}): string[] {
  const sample = { seconds: 5, before: truth, after: truth, reports: { ...content, ...reports }, ...more };
  return judge(sample, expectation);
}

test("reports that say that all is well are true if it is", () => {
  expect(judged(encrypted)).toEqual([]);
});

test("the same reports are untrue of packets in plaintext and of lost ones", () => {
  const conditions = { NetworkEncrypted: "True AllPeers", Covered: "True AllPairs" };
  expect(judged(plaintext, { conditions }, { seconds: 60 })).toHaveLength(6);
  expect(judged(lost, { conditions }, { seconds: 60 })).toHaveLength(6);
  // Conditions have the time that a report takes.
  expect(judged(lost, { conditions })).toHaveLength(4);
});

test("alarm without a fault is untrue, too", () => {
  const drift = { ...peer, state: "drift", reach: "plaintext" };
  const status = { exitCode: 3, peer: drift, pending: [] };
  expect(judged(encrypted, { status, metric: "drift plaintext" })).toEqual([
    "status: in plaintext, but not so",
  ]);
  const refused = { exitCode: 3, peer: { ...peer, reach: "refused" }, pending: [] };
  expect(judged(encrypted, { status: refused, metric: "encrypted refused" })).toEqual([
    "status: refused, but delivered",
  ]);
});

test("either of two truths may be reported while one becomes the other", () => {
  expect(judged(encrypted, {}, { before: lost })).toEqual([]);
});

test("a fault at another node is not expected to be known at once", () => {
  const sample = { seconds: 5, before: lost, after: lost, reports: content };
  expect(judge(sample, { ...expectation, knownAfterS: 60 })).toEqual([]);
});

test("a leak must be found in status, metric and log", () => {
  const sample = { seconds: 60, before: encrypted, after: encrypted, reports: content };
  expect(judgeEvidence(3, sample, expectation, "n2")).toHaveLength(3);
  expect(judgeEvidence(0, sample, expectation, "n2")).toEqual([]);
  const warnings = [
    { time: "", level: "warn" as const, message: "packets in plaintext", peer: "n2", packets: 3 },
  ];
  const shown = { ...peer, plaintext: { inPackets: 0, outPackets: 3 } };
  const reports = { ...content, warnings, plaintextMetric: 3, status: { ...content.status, peer: shown } };
  expect(judgeEvidence(3, { ...sample, reports }, expectation, "n2")).toEqual([]);
});

test("a leak while nothing counted is known by the gap", () => {
  const warnings = [{ time: "", level: "warn" as const, message: "packets in plaintext were not counted" }];
  const status = { ...content.status, countedSinceMs: 2000 };
  const sample = { seconds: 60, before: encrypted, after: encrypted };
  const of = (reports: Partial<Reports>) =>
    judgeEvidence(3, { ...sample, reports: { ...content, status, ...reports } }, expectation, "n2");
  expect(of({ warnings })).toEqual([]);
  expect(of({})).toHaveLength(1);
});
