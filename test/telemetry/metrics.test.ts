// The text of a scrape is compared with a file for a small node, and parsed by the format's own rules.
import { afterAll, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AgentFacts, ScrapeFacts } from "../../src/telemetry/facts.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { scrapeBusyAgent } from "../sources/busy.ts";
import { parseExposition, parseSample } from "./exposition.ts";
import { makeFacts, nowMs, peers, scraped, synced } from "./facts.ts";

const root = mkdtempSync(join(tmpdir(), "wgt-metrics-"));
afterAll(() => rmSync(root, { recursive: true }));
let directories = 0;

function setUp(collect?: AgentFacts["collect"]) {
  const stateDir = join(root, String(directories++));
  mkdirSync(stateDir);
  const made = makeFacts(stateDir, collect);
  const metrics = new Metrics(made.facts, made.log);
  const text = async () => new TextDecoder().decode(await metrics.scrape());
  return { ...made, stateDir, metrics, text, read: async () => parseExposition(await text()) };
}

test("a small node, to the letter", async () => {
  const all = await scrapeBusyAgent(setUp().stateDir);
  const ours = all.slice(0, all.indexOf("# HELP process_"));
  const file = `${import.meta.dir}/golden/metrics.txt`;
  if (process.env["UPDATE_GOLDEN"] === "1") {
    mkdirSync(`${import.meta.dir}/golden`, { recursive: true });
    writeFileSync(file, ours);
  }
  expect(ours).toBe(readFileSync(file, "utf8"));
});

test("follows the format, and Prometheus' rules for names", async () => {
  const { metrics, read } = setUp();
  metrics.synced(synced);
  const all = await read();
  for (const [name, { type, help }] of all) {
    expect(name, name).toMatch(/^(wg_cni|process)_[a-z_]+$/);
    expect(help, name).toEndWith(".");
    expect(name.endsWith("_total"), `${name} is a ${type}`).toBe(type === "counter");
    expect(name, "units are base units").not.toMatch(/_(ms|milliseconds|minutes|kilobytes|kb)(_|$)/);
  }
  const names = [...all.get("wg_cni_peer_state")!.samples.keys()].map(
    (key) => parseSample(key).labels["peer"],
  );
  expect(names).toEqual(peers.map(({ name }) => name));
});

test("a peer that is removed leaves no series behind", async () => {
  let there = scraped;
  const { read } = setUp(() => there);
  const seriesOf = async (peer: string) =>
    [...(await read()).values()].flatMap(({ samples }) =>
      [...samples.keys()].filter((key) => parseSample(key).labels["peer"] === peer),
    );
  expect(await seriesOf("n2")).toHaveLength(7);
  there = { ...scraped, peers: peers.slice(1) };
  expect(await seriesOf("n2")).toEqual([]);
  expect(await seriesOf("n3")).toHaveLength(5);
});

test("counters go on from scrape to scrape", async () => {
  const { metrics, read, stateDir } = setUp();
  const value = async (name: string, key = name) => (await read()).get(name)?.samples.get(key);
  metrics.synced(synced);
  metrics.synced({ ...synced, result: "failed" });
  expect(await value("wg_cni_sync_writes_total")).toBe(6);
  metrics.synced(synced);
  metrics.syncBroke(5);
  expect(await value("wg_cni_sync_writes_total")).toBe(9);
  expect(await value("wg_cni_syncs_total", 'wg_cni_syncs_total{result="failed"}')).toBe(2);
  expect(await value("wg_cni_last_sync_timestamp_seconds")).toBe(nowMs / 1000);
  const line = "2026-11-21T01:02:03.456Z GC ok 1.00\n";
  for (const count of [1, 2]) {
    appendFileSync(`${stateDir}/calls.log`, line);
    const key = 'wg_cni_verb_duration_seconds_count{verb="GC",result="ok"}';
    expect(await value("wg_cni_verb_duration_seconds", key)).toBe(count);
  }
});

test("one problem that stands is counted once; another one, or the same again, anew", async () => {
  const { metrics, read } = setUp();
  const count = async () => (await read()).get("wg_cni_problems_total")?.samples.get("wg_cni_problems_total");
  for (const problem of ["a", "a", "b", undefined, "b"]) metrics.passEnded(problem);
  expect(await count()).toBe(3);
});

test("a store that cannot be read takes only what it has along: said once, and served again when it passes", async () => {
  let problem: string | undefined = "the store is locked";
  const { metrics, read, lines } = setUp((): ScrapeFacts => {
    if (problem !== undefined) throw new Error(problem);
    return scraped;
  });
  metrics.synced(synced);
  for (let scrapes = 0; scrapes < 2; scrapes++) {
    const all = await read();
    expect(all.get("wg_cni_facts_readable")?.samples.get("wg_cni_facts_readable")).toBe(0);
    expect(all.get("wg_cni_sync_writes_total")?.samples.get("wg_cni_sync_writes_total")).toBe(3);
    expect(all.get("wg_cni_peer_state")?.samples.size).toBe(0);
  }
  expect(lines).toEqual(["NOW warn  a part of the metrics cannot be read: the store is locked\n"]);
  problem = undefined;
  const all = await read();
  expect(all.get("wg_cni_facts_readable")?.samples.get("wg_cni_facts_readable")).toBe(1);
  expect(all.get("wg_cni_peer_state")?.samples.size).toBe(3);
});

test("a node that was never brought up has metrics too", async () => {
  const all = await setUp(() => undefined).read();
  expect(all.get("wg_cni_build_info")?.samples.size).toBe(1);
  expect(all.get("wg_cni_node_info")?.samples.size).toBe(0);
  expect(all.get("wg_cni_ready")?.samples.get("wg_cni_ready")).toBe(0);
});

test("scrapes at the same time are one", async () => {
  let reads = 0;
  const { metrics } = setUp(() => {
    reads++;
    return scraped;
  });
  const texts = await Promise.all(Array.from({ length: 10 }, () => metrics.scrape()));
  expect(reads).toBe(1);
  expect(new Set(texts).size).toBe(1);
  await metrics.scrape();
  expect(reads).toBe(2);
});

test("a scrape that comes while one is read, or in the rest after it, has what happened before it", async () => {
  let there = scraped;
  let meanwhile: ReturnType<typeof read> | undefined;
  const { read, clock } = setUp(() => {
    const found = there;
    there = { ...scraped, peers: peers.slice(1) };
    meanwhile ??= read();
    // So there is a rest of 20 ms.
    clock.ms += 5;
    return found;
  });
  const peersIn = (all: Awaited<ReturnType<typeof read>>) => all.get("wg_cni_peer_state")?.samples.size;
  expect(peersIn(await read())).toBe(peers.length);
  expect(peersIn((await meanwhile) ?? new Map())).toBe(peers.length - 1);
  there = { ...scraped, peers: [] };
  expect(peersIn(await read())).toBe(0);
});

test("readiness follows the looks, liveness their absence", () => {
  const { metrics, clock } = setUp();
  expect(metrics.readiness()).toEqual({
    ok: false,
    text: "The agent has just started and has not reconciled yet.",
  });
  metrics.passEnded(undefined);
  expect(metrics.readiness()).toEqual({ ok: true, text: "ok" });
  metrics.passEnded("Cannot add route: EPERM");
  expect(metrics.readiness()).toEqual({ ok: false, text: "Cannot add route: EPERM" });
  expect(metrics.liveness().ok).toBe(true);
  clock.ms += 200_000;
  expect(metrics.liveness().ok).toBe(false);
});

test("readiness asks the kernel, four times a second at most", () => {
  const { facts, log, clock } = setUp();
  let problem: string | undefined;
  let asked = 0;
  const findPathProblem = () => {
    asked++;
    return problem;
  };
  const metrics = new Metrics({ ...facts, findPathProblem }, log);
  metrics.passEnded(undefined);
  expect(metrics.readiness().ok).toBe(true);
  problem = "packets for n2 are lost";
  expect(metrics.readiness().ok).toBe(true);
  clock.ms += 1000;
  expect(metrics.readiness()).toEqual({ ok: false, text: "packets for n2 are lost" });
  expect(asked).toBe(2);
});
