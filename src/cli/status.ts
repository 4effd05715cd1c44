// `status` compares the kernel with the store, as JSON; status-text.ts has the text. The exit code is 3 if
// they differ, so that a probe can use it.
import { describeEndpoints } from "../plan/host/endpoints.ts";
import { isAgentMissed, isAgentWell } from "../plan/report/agent-status.ts";
import type { StrayPackets } from "../plan/report/arrivals.ts";
import { describePeers } from "../plan/report/peer-status.ts";
import { type SettingName, settingNames, showSetting } from "../plan/settings/settings.ts";
import { settingTable } from "../plan/settings/table.ts";
import { renderStep } from "../plan/step.ts";
import { observeTransport } from "../reconcile/endpoints.ts";
import { dueSteps, hasWholeFirewall, type MeshPlan } from "../reconcile/mesh-plan.ts";
import { observeLocalPods } from "../sources/pod-addresses.ts";
import type { Context, Output } from "./command.ts";
import { observeAgent } from "./observe-agent.ts";
import { readRotation } from "./rotation.ts";
import { openSession } from "./session.ts";
import { nodeStates, renderStatus, type Shown } from "./status-text.ts";
import { isAsItShouldBe } from "./verdict.ts";

const notAsItShouldBe = 3;

export async function status(context: Context): Promise<Output> {
  using session = openSession(context);
  const identity = session.store.identity();
  if (identity === undefined) return describeMissing();
  const plan = session.plan();
  const evidence = session.readEvidence(plan, hasWholeFirewall(plan));
  const { byInterface, strayPackets } = evidence.arrivals;
  const { refused } = evidence;
  const peers = describePeers(plan, context.nowMs, evidence);
  const overrides = session.store.settings();
  const mesh = session.store.meshSettings();
  const pods = session.store.attachments().length;
  const localPods = observeLocalPods(session, plan.settings);
  const pending = dueSteps(plan).flatMap(renderStep);
  const rejectedRecords = session.store.rejectedRecords();
  const rotation = readRotation(session.store, identity, context.nowMs);
  const endpointsFrom = describeEndpoints(identity, observeTransport(plan.settings, session.kernel));
  const needs = { isGated: plan.paths !== undefined, settings: plan.settings, overrides };
  const observed = await observeAgent(context.stateDir);
  const agent = { ...observed, isMissed: isAgentMissed(observed, needs) };
  const hasFirewall = session.kernel.firewall !== undefined;
  const good = isAsItShouldBe({ plan, peers, hasFirewall, isAgentWell: isAgentWell(observed, needs) });
  const settings = settingNames.map((name) => describeSetting(plan, name, overrides, mesh));
  const shown: Shown = {
    ...{ plan, peers, arrivals: byInterface, pods, localPods, pending, rejectedRecords, rotation, agent },
    ...{ refused, endpointsFrom, overrides, nowMs: context.nowMs },
    ...(evidence.countedSinceMs === undefined ? {} : { countedSinceMs: evidence.countedSinceMs }),
  };
  return {
    json: toJson(shown, { settings, strayPackets }),
    text: (style) => renderStatus(shown, style),
    exitCode: good ? 0 : notAsItShouldBe,
  };
}

function toJson(
  {
    plan,
    peers,
    arrivals,
    refused,
    pods,
    localPods,
    pending,
    rejectedRecords,
    rotation,
    agent,
    endpointsFrom,
    countedSinceMs,
  }: Shown,
  { settings, strayPackets }: { readonly settings: unknown; readonly strayPackets: readonly StrayPackets[] },
): Output["json"] {
  return {
    node: plan.node,
    up: plan.up,
    backend: plan.linkKind === "wireguard" ? "kernel" : "userspace",
    endpointsFrom,
    mtu: plan.mtu,
    missingCapabilities: plan.missingCapabilities,
    generation: plan.generation,
    agent,
    rotation,
    hostEncryption: plan.hostEncryption,
    pending,
    faults: [...plan.faults].map(([slot, { reason }]) => ({ slot, reason })),
    pods,
    earlierPods: localPods.earlier,
    unknownPods: localPods.unknown,
    peers,
    ...(countedSinceMs === undefined ? {} : { plaintextCountedSinceMs: countedSinceMs }),
    plaintextArrivals: arrivals,
    strayPackets,
    refusedSources: [...refused.sources].map(([source, packets]) => ({ source, packets })),
    refusedClaims: plan.ownership.refusals,
    refusedCIDRs: plan.refusedCIDRs,
    rejectedRecords,
    settings,
  };
}

function describeMissing(): Output {
  return {
    json: { up: false },
    text: (style) =>
      `${style.yellow("●")} this node was ${nodeStates.never}; run ${style.bold("wg-cni up --node NAME --endpoint IP --pod-cidr CIDR")}\n`,
    exitCode: notAsItShouldBe,
  };
}

function describeSetting(
  { settings }: MeshPlan,
  name: SettingName,
  overrides: Readonly<Record<string, unknown>>,
  mesh: Readonly<Record<string, unknown>>,
) {
  const set = overrides[name] !== undefined;
  const value = showSetting(name, settings[name] as never);
  return {
    name,
    value,
    origin: mesh[name] !== undefined ? "mesh" : set ? "set" : "default",
    ...(set ? {} : { reason: settingTable[name].reason }),
  };
}
