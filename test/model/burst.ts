// What calls at the same time may answer: they come in any order.
import { expect } from "bun:test";
import { familyOf } from "../../src/net/ip.ts";
import type { CniResult } from "../lab/runtime.ts";
import type { BurstCall, PodName } from "./actions.ts";
import { exits, expectCode, expectExit, hostOf, liveOf } from "./answers.ts";
import type { Reply } from "./driver.ts";
import { chainedIps, codes, isChained, type NodeModel } from "./model.ts";

type Results = Map<PodName, CniResult>;

/** Judges the calls of pods that had one each. `all` are the others, too: they may have had the addresses meanwhile. */
export function judgeBurst(
  model: NodeModel,
  results: Results,
  calls: readonly (readonly [BurstCall, Reply])[],
  all: readonly BurstCall[],
): void {
  const adds = all.filter(({ verb, pod }) => verb === "ADD" && !isChained(pod));
  const room = Math.min(model.free(4, "k1").length, model.free(6, "k1").length);
  const offers = new Map(
    calls.map(([{ pod }]) => [pod, isChained(pod) ? chainedIps(pod) : model.offer(pod)]),
  );
  if (all.some(({ verb }) => verb === "ADD")) model.repair();
  for (const [{ pod, verb }, reply] of calls) if (verb === "DEL") judgeDel(model, results, pod, reply);
  for (const [{ pod, verb }, reply] of calls) {
    if (verb !== "ADD") continue;
    if (offers.get(pod) === codes.exists) expectCode(reply, codes.exists);
    else if (reply.exitCode === exits.done || isChained(pod) || adds.length <= room)
      judgeAdd(model, results, pod, reply);
    else expectCode(reply, codes.exhausted);
  }
  if (adds.length > 0) model.last = "unknown";
}

function judgeDel(model: NodeModel, results: Results, pod: PodName, reply: Reply): void {
  expectExit(reply, exits.done);
  model.removed(
    pod,
    (results.get(pod)?.ips ?? []).map(({ address }) => hostOf(address)),
  );
  results.delete(pod);
}

function judgeAdd(model: NodeModel, results: Results, pod: PodName, reply: Reply): void {
  expectExit(reply, exits.done);
  const given = liveOf(reply);
  if (!isChained(pod)) for (const ip of given.ips) expect(model.free(familyOf(ip), pod)).toContain(ip);
  model.added(pod, given);
  results.set(pod, JSON.parse(reply.stdout));
}
