// The judge of reports: each rule is seen to find its untruth, and to be content otherwise.
import { expect, test } from "bun:test";
import type { Truth } from "./support/fault-lab.ts";
import { type Expectation, judge, judgeEvidence, judgeLog, type Sample } from "./support/judge.ts";
import type { Reports } from "./support/reports.ts";

const encrypted: Truth = { sent: 8, delivered: 8, plaintext: 0 };
const plaintext: Truth = { sent: 8, delivered: 8, plaintext: 8 };
const lost: Truth = { sent: 8, delivered: 0, plaintext: 0 };
const readAtMs = 1_000_000;
const peer = { name: "n2", state: "encrypted", reach: "tunnel", lastHandshakeMs: readAtMs - 120_000 };
const content: Reports = {
  readAtMs,
  status: { exitCode: 0, isUp: true, peer, pending: [], others: [], countedSinceMs: 0 },
  doctor: { exitCode: 0, findings: [] },
  ...{ warnings: [], ready: "ok", metric: "encrypted tunnel", conditions: {} },
};
const expectation = { knownAfterS: 1, hasAgent: true, madeAtMs: 1000 };

function judged(
  truth: Truth,
  reports: Partial<Reports> = {},
  { blames, ...more }: Partial<Sample> & Pick<Expectation, "blames"> = {},
): string[] {
  const sample = { seconds: 5, before: truth, after: truth, reports: { ...content, ...reports }, ...more };
  return judge(sample, { ...expectation, ...(blames === undefined ? {} : { blames }) });
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
  const status = { exitCode: 3, isUp: true, peer: drift, pending: [], others: [] };
  expect(judged(encrypted, { status, metric: "drift plaintext" })).toEqual([
    "status: in plaintext, but not so",
  ]);
  const refused = { exitCode: 3, isUp: true, peer: { ...peer, reach: "refused" }, pending: [], others: [] };
  expect(judged(encrypted, { status: refused, metric: "encrypted refused" })).toEqual([
    "status: refused, but delivered",
  ]);
});

test("either of two truths may be reported while one becomes the other", () => {
  expect(judged(encrypted, {}, { before: lost })).toEqual([]);
});

test("a node is ready while another one is at fault, and not ready while it is itself", () => {
  const conditions = { NetworkEncrypted: "False PeersSilent" };
  const status = { exitCode: 3, isUp: true, peer: { ...peer, state: "silent" }, pending: [], others: [] };
  const reports = { status, metric: "silent tunnel", doctor: { exitCode: 1, findings: [] }, conditions };
  expect(judged(lost, reports, { blames: "peer" })).toEqual([]);
  expect(judged(lost, reports)).toEqual(["readyz: ok, but not well"]);
  const ready = "This node is cut off";
  expect(judged(lost, { ...reports, ready })).toEqual([]);
  expect(judged(lost, { ...reports, ready }, { blames: "peer" })).toEqual([
    "readyz: not ok for the fault of another node",
  ]);
});

test("nothing may raise an alarm while no node is at fault", () => {
  expect(judged(encrypted, {}, { blames: "nobody" })).toEqual([]);
  for (const reports of [
    { status: { ...content.status, exitCode: 3 } },
    { doctor: { exitCode: 1, findings: [] } },
    { ready: "The agent has just started" },
  ])
    expect(judged(encrypted, reports, { blames: "nobody" })).toEqual(["alarm, but all is well"]);
});

test("a session that is over encrypts nothing, whether packets are sent or not", () => {
  const silence: Truth = { sent: 0, delivered: 0, plaintext: 0 };
  const old = { ...peer, lastHandshakeMs: readAtMs - 200_000 };
  const code = "status: encrypted by a session that is over";
  expect(judged(silence)).toEqual([]);
  expect(judged(silence, { status: { ...content.status, peer: old } })).toEqual([code]);
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

test("a node that is down leaks nothing", () => {
  const status = { ...content.status, isUp: false };
  const sample = { seconds: 60, before: plaintext, after: plaintext, reports: { ...content, status } };
  expect(judgeEvidence(3, sample, expectation, "n2")).toEqual([]);
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

test("a warning that the log has twice is untrue, and two that differ are not", () => {
  const sample = { seconds: 60, before: encrypted, after: encrypted };
  const judgedLog = (...peers: string[]) => {
    const warnings = peers.map((peer, i) => ({
      time: `${i}`,
      level: "warn" as const,
      message: "lost",
      peer,
    }));
    return judgeLog({ ...sample, reports: { ...content, warnings } }, "rules");
  };
  expect(judgedLog("n2", "n3")).toEqual([]);
  expect(judgedLog("n2", "n3", "n2")).toHaveLength(1);
});

test("no process has changed the mesh if a firewall drops packets", () => {
  const message = "mesh changed by another process, restored";
  const warnings = [{ time: "", level: "warn" as const, message }];
  const sample = { seconds: 60, before: lost, after: lost, reports: { ...content, warnings } };
  expect(judgeLog(sample, "rules")).toEqual([]);
  expect(judgeLog(sample, "firewalls")).toHaveLength(1);
});
