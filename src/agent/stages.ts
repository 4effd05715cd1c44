// The stages of a reconcile pass. Each builds on those before it; docs/design/architecture.md has the
// same table. If a pass fails, the next one begins anew from store and kernel.
import { ownSlots } from "../plan/peers/path.ts";
import { renderStep } from "../plan/step.ts";
import { followTransport } from "../reconcile/endpoints.ts";
import type { Session } from "../reconcile/session.ts";
import { mayReturn } from "../reconcile/slots.ts";
import { decide } from "./decide.ts";
import { type PassContext, problemOf } from "./pass-context.ts";
import type { Stage } from "./stage.ts";
import { addPodCIDRs, keepPlaintext, syncMesh } from "./sync-mesh.ts";
import { hasOnlyRecords, type Trigger } from "./triggers.ts";

/** The time that the pods of a node may take in one pass; one pod normally takes less than a millisecond. */
const podsBudgetMs = 100;

const always = () => true;
const unlessPoll = ({ isPoll }: PassContext) => !isPoll;
const unlessIdle = ({ isIdle }: PassContext) => !isIdle;
/** Nothing says that the kernel may have changed too. */
const ifRecordsChanged = ({ triggers }: PassContext) => hasOnlyRecords(triggers);
/** The node has the whole mesh, so it is ready for pods. */
const ifHealthy = (pass: PassContext) =>
  problemOf(pass) === undefined && !pass.hasDrift && pass.memory.state?.up === true;

export const stages: readonly Stage<PassContext>[] = [
  // The installation is checked at polls too: a repair may be waiting for its time.
  { name: "installation", when: always, run: keepInstallation, storeErrorEnds: "stage" },
  { name: "orphaned pods", when: always, run: releaseOrphans, storeErrorEnds: "stage" },
  { name: "records", when: unlessPoll, run: ingestRecords, storeErrorEnds: "stage" },
  { name: "new pod CIDRs", when: ifRecordsChanged, run: addPodCIDRs, storeErrorEnds: "stage" },
  // Before the decision, which may want packets in the tunnel that were rightly outside it until now.
  { name: "plaintext", when: always, run: keepPlaintext, storeErrorEnds: "stage" },
  { name: "decision", when: always, run: decide, storeErrorEnds: "stage", freesMemory: true },
  { name: "idle check", when: always, run: checkIdle, storeErrorEnds: "pass" },
  { name: "sync", when: unlessIdle, run: sync, storeErrorEnds: "pass" },
  { name: "packet paths", when: always, run: checkPaths, storeErrorEnds: "stage" },
  { name: "port checks", when: always, run: checkPorts, storeErrorEnds: "stage" },
  { name: "pods", when: always, run: updatePods, storeErrorEnds: "stage", freesMemory: true },
  { name: "pod links", when: unlessIdle, run: restorePodLinks, storeErrorEnds: "stage" },
  { name: "dead-man switch", when: always, run: runDeadMan, storeErrorEnds: "stage" },
  { name: "publishing", when: always, run: publish, storeErrorEnds: "stage" },
  { name: "startup taint", when: ifHealthy, run: removeStartupTaint, storeErrorEnds: "pass" },
];

function keepInstallation(pass: PassContext): void {
  const { installation, pluginCache } = pass.parts;
  const { problem, wakeInMs } = installation.reconcile();
  pass.installationProblem = problem;
  if (wakeInMs !== undefined) pass.wakesInMs.push(wakeInMs);
  pluginCache.keep();
}

function releaseOrphans({ session, parts }: PassContext): void {
  parts.orphans.reconcile(session);
}

/** Writes what peers have published, and the addresses of this node, into the store. */
function ingestRecords(pass: PassContext): void {
  const { session, parts } = pass;
  pass.hasNewPods = parts.records.ingest();
  let problem: string | undefined;
  followTransport(session, (sentence) => {
    problem = sentence;
  });
  parts.problems.reportOnChange("transport", problem);
}

/**
 * A poll that has shown nothing ends most of the pass. A slot that may be usable again is something, and so is a write
 * to the store that no event has told of yet: the poll has read it, so the event will find nothing new.
 */
function checkIdle(pass: PassContext): void {
  const { decision, memory, session } = pass;
  const { generation = memory.state?.generation } = memory.view ?? {};
  const isSynced = memory.state?.generation === generation;
  pass.isIdle = pass.isPoll && isSynced && !decision.changed && !decision.drifted && !mayReturn(session);
}

function sync(pass: PassContext): void {
  pass.syncProblem = syncMesh(pass, pass.triggers);
}

/** Asks the kernel where packets for the peers go, and reports those that go another way than intended. */
function checkPaths(pass: PassContext): void {
  const { session, parts, memory, decision } = pass;
  if (memory.state === undefined) return;
  const { reading } = decision;
  // A sync that has changed nothing leaves the devices as the gate has read them.
  const current = reading?.writes === session.kernel.writes ? reading.devices : undefined;
  const asking: Pick<Session, "readReach"> = {
    readReach: (state, hasFirewall, devices = current) => session.readReach(state, hasFirewall, devices),
  };
  const drift = parts.paths.check(asking, memory.state, pass.isIdle ? reading?.devices : undefined);
  parts.problems.reportAllOnChange("packet paths", drift, "wg-cni status");
  pass.hasDrift = drift.size > 0;
}

/** Shows to peers which of their ports are open for this node, and keeps what peers have shown. */
function checkPorts({ session, parts, memory, decision: { reading } }: PassContext): void {
  if (memory.state === undefined || reading === undefined) return;
  const { nowMs } = parts.clock.read();
  const { observations } = parts.gate;
  parts.ports.run(session, memory.state, { observations, devices: reading.devices, nowMs });
  parts.problems.reportAllOnChange("ports", parts.ports.problems());
}

/** Gives existing pods the tunnel's MTU. Processes in a pod can choose what is read there, so it is not trusted. */
function updatePods({ session, memory, options: { log } }: PassContext): void {
  const bytes = memory.state?.mtu.bytes;
  if (bytes === undefined || memory.waitingPods.length === 0) return;
  // Since they were listed, pods may have been removed or added anew.
  const attachments = memory.waitingPods.flatMap((one) => session.store.findAttachment(one) ?? []);
  const { pods, writes, failures, rest } = session.syncPods(bytes, {
    ...{ attachments, budgetMs: podsBudgetMs },
  });
  memory.waitingPods = rest;
  if (writes > 0) log.info("pods updated to the MTU of the tunnel", { mtu: bytes, pods, writes });
  for (const failure of failures) log.warn(failure);
}

/** Repairs the links of pods at a resync and when another process has changed nftables. */
function restorePodLinks({ session, triggers, options: { log } }: PassContext): void {
  if (!(["start", "resync", "firewall"] as const).some((trigger) => triggers.has(trigger))) return;
  const { unexplained, writes, failures } = session.syncPodLinks();
  const [first] = unexplained.flatMap(renderStep);
  if (first !== undefined && writes > 0)
    log.warn("links of pods changed by another process, restored", { writes, first });
  for (const failure of failures) log.warn(failure);
}

/** Host encryption stays on only if the control plane answers. */
function runDeadMan(pass: PassContext): void {
  const { parts, memory, triggers } = pass;
  if (memory.state === undefined) return;
  let result = parts.deadMan.reconcile(memory.state, parts.clock.read());
  if (result.changed) {
    syncMesh(pass, new Set<Trigger>([...triggers, "dead-man switch"]));
    result = parts.deadMan.reconcile(memory.state, parts.clock.read());
  }
  if (result.wakeInMs !== undefined) pass.wakesInMs.push(result.wakeInMs);
}

function publish({ parts, memory, isIdle }: PassContext): void {
  const { gate, clock, records, ports, plaintext, paths: pathCheck } = parts;
  records.publish(isIdle, memory.asks, () => {
    const { paths, observations } = gate;
    const refusedCIDRs = memory.state?.refusedCIDRs ?? [];
    const { drifted } = pathCheck;
    const { silent } = gate.silence;
    const { gaps: portGaps } = ports;
    const { nowMs } = clock.read();
    const windowMs = (memory.state?.settings.plaintextWindow ?? 0) * 1000;
    const transit = plaintext.transitSince(nowMs - windowMs);
    const refusedSources = plaintext.refusedSince(nowMs - windowMs);
    const { lossy } = plaintext;
    const hasSlot = memory.state === undefined || ownSlots(memory.state.node).length > 0;
    return {
      ...{ view: memory.view, paths, observations, drifted, silent, portGaps, transit },
      ...{ hasSlot, refusedSources, lossy, refusedCIDRs, nowMs },
    };
  });
}

function removeStartupTaint({ parts }: PassContext): void {
  parts.records.removeStartupTaint();
}
