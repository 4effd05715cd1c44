// The text of `status`: the node, its devices, its peers, and warnings, each as a block.
import { shorten } from "../doctor/finding.ts";
import { countOf, formatAge, formatBytes, formatSpan } from "../net/human-format.ts";
import { keyOf, slots } from "../plan/peers/path.ts";
import { describePod, type LocalPods } from "../plan/pods/local-pods.ts";
import type { AgentStatus } from "../plan/report/agent-status.ts";
import { describeForeign, type InterfaceArrivals } from "../plan/report/arrivals.ts";
import {
  describeDrift,
  describeLoss,
  goodStates,
  type Intent,
  type PeerStatus,
} from "../plan/report/peer-status.ts";
import { describePortGap } from "../plan/report/port-evidence.ts";
import { listSources, type RefusedPackets } from "../plan/report/refused-sources.ts";
import { type Mode, settingNames, showSetting, slotDevice } from "../plan/settings/settings.ts";
import type { MeshPlan } from "../reconcile/mesh-plan.ts";
import { areAllFaulty } from "../reconcile/slots.ts";
import type { RejectedRecord } from "../state/model.ts";
import { type RotationStatus, renderRotation } from "./rotation.ts";
import { alignColumns, oneLine, type Style } from "./style.ts";

/** The states of the node itself, as the text has them. */
export const nodeStates = {
  never: "never up",
  down: "down",
  faulty: "up, and cannot encrypt",
  pending: "not as it should be",
  up: "up",
} as const;

export interface ShownAgent extends AgentStatus {
  /** True if no agent runs, and the node's routes or settings need one. */
  readonly isMissed: boolean;
}

export interface Shown {
  readonly plan: MeshPlan;
  readonly peers: readonly PeerStatus[];
  readonly arrivals: readonly InterfaceArrivals[];
  readonly refused: RefusedPackets;
  readonly pods: number;
  readonly localPods: LocalPods;
  readonly pending: readonly string[];
  readonly rejectedRecords: readonly RejectedRecord[];
  readonly rotation: RotationStatus;
  readonly agent: ShownAgent;
  /** The origin of the endpoints, as text. */
  readonly endpointsFrom: string;
  readonly overrides: Record<string, unknown>;
  readonly nowMs: number;
  /** Unix milliseconds since which plaintext is counted without a gap; absent if nothing counts it. */
  readonly countedSinceMs?: number;
}

export function renderStatus(shown: Shown, style: Style): string {
  return [
    renderHead(shown, style),
    renderDevices(shown.plan, style),
    renderPeers(shown, style),
    renderWarnings(shown, style),
  ]
    .filter((part) => part !== "")
    .join("\n\n")
    .concat("\n");
}

function renderHead(shown: Shown, style: Style): string {
  const { plan, peers, pending, rotation, agent, endpointsFrom, overrides, nowMs } = shown;
  const { node, settings, up, linkKind, mtu } = plan;
  const state = !up
    ? style.yellow(nodeStates.down)
    : areAllFaulty(plan.faults)
      ? style.red(nodeStates.faulty)
      : pending.length === 0
        ? style.green(nodeStates.up)
        : style.red(nodeStates.pending);
  const set = settingNames.filter((name) => overrides[name] !== undefined);
  const encrypted = peers.filter(({ state }) => state === "encrypted" || state === "idle").length;
  return alignColumns([
    [style.bold("node"), `${node.name}  ${state}`],
    [style.bold("mode"), modeText[settings.mode]],
    [style.bold("wireguard"), linkKind === "wireguard" ? "the kernel's" : "a userspace implementation"],
    [style.bold("endpoints"), `${node.endpoints.join(", ")}  ${style.dim(`(${endpointsFrom})`)}`],
    [style.bold("mtu"), `${mtu.bytes}  ${style.dim(`(${mtu.reason})`)}`],
    [style.bold("agent"), renderAgent(agent, nowMs, style)],
    [style.bold("keys"), renderRotation(rotation, nowMs)],
    [style.bold("hosts"), renderHostEncryption(plan, style)],
    [style.bold("pods"), `${countPods(shown)}; ${node.podCIDRs.join(", ") || "no CIDR of the node's own"}`],
    [style.bold("peers"), `${encrypted} of ${peers.length} encrypted`],
    ...(up ? [[style.bold("plaintext"), renderCounting(shown, style)]] : []),
    ...(set.length === 0
      ? []
      : [
          [
            style.bold("settings"),
            set.map((name) => `${name} ${showSetting(name, settings[name] as never)}`).join(", "),
          ],
        ]),
  ]);
}

/** Shows for how long every packet has been counted. Earlier ones are known only as far as the store has them. */
function renderCounting({ countedSinceMs, nowMs }: Shown, style: Style): string {
  if (countedSinceMs === undefined) return style.yellow("not counted: there is no nftables table");
  return `counted for ${formatSpan(nowMs - countedSinceMs)} without a gap`;
}

function countPods({ pods, localPods: { earlier } }: Shown): string {
  return earlier.length === 0
    ? `${pods} here`
    : `${pods} here, and ${earlier.length} that wg-cni did not attach`;
}

const absentText = "none: nothing is repaired, keys are not rotated";

const modeText: Readonly<Record<Mode, string>> = {
  off: "off: all peers are reached in plaintext; handshakes show whether they could be encrypted",
  permissive: "permissive: peers without a key are reached in plaintext",
  strict: "strict: nothing for a known peer leaves in plaintext",
};

/** Describes the encryption of traffic between the nodes themselves. */
function renderHostEncryption({ hostEncryption: { state, text } }: MeshPlan, style: Style): string {
  if (state === "off" || state === "on") return `encryption ${text}`;
  return `encryption ${state === "reverted" ? style.red(text) : style.yellow(text)}`;
}

function renderDevices({ settings, node, observed, faults }: MeshPlan, style: Style): string {
  const head = ["DEVICE", "LINK", "PORT", "MTU", "PEERS", "PUBLIC KEY"].map(style.bold);
  const rows = slots.map((slot) => {
    const name = slotDevice(settings, slot);
    const link = observed.links.get(name);
    const device = observed.devices.get(name);
    const key = keyOf(node, slot) ?? "none";
    if (link === undefined || device === undefined)
      return [name, style.red(faults.has(slot) ? "withdrawn" : "missing"), "", "", "", style.dim(key)];
    return [
      name,
      link.up ? style.green("up") : style.red("down"),
      `${device.listenPort}`,
      `${link.mtu}`,
      `${device.peers.size}`,
      key,
    ];
  });
  return alignColumns([head, ...rows]);
}

function renderPeers({ peers, nowMs }: Shown, style: Style): string {
  if (peers.length === 0)
    return style.dim("no peers yet: `wg-cni peer import FILE` imports the records of other nodes");
  const head = [
    "PEER",
    "STATE",
    "PATH",
    "INTENT",
    "ENDPOINT",
    "HANDSHAKE",
    "RECEIVED",
    "SENT",
    "IN PLAINTEXT",
    "PODS",
  ].map(style.bold);
  const rows = peers.map((peer) => [
    peer.name,
    renderState(peer, style),
    renderPath(peer, style),
    style.dim(formatPath(peer.intent)),
    peer.endpoint ?? "-",
    peer.slot === undefined && peer.lastHandshakeMs === 0 ? "-" : formatAge(peer.lastHandshakeMs, nowMs),
    formatBytes(peer.rxBytes),
    formatBytes(peer.txBytes),
    renderPlaintext(peer.plaintext, nowMs, style),
    peer.podCIDRs.join(", ") || "-",
  ]);
  return alignColumns([head, ...rows]);
}

function renderState({ state }: PeerStatus, style: Style): string {
  if (state === "drift") return style.red(state);
  return goodStates.includes(state) ? style.green(state) : style.yellow(state);
}

/** Shows where packets for the peer go, as the kernel says. */
function renderPath(peer: PeerStatus, style: Style): string {
  const text = formatPath(peer);
  if (peer.reach === "tunnel") return style.green(text);
  return peer.reach === "plaintext" ? style.yellow(text) : style.red(text);
}

function formatPath({ reach, slot }: Intent): string {
  return slot === undefined || reach !== "tunnel" ? reach : `${reach} ${slot}`;
}

function renderAgent(agent: ShownAgent, nowMs: number, style: Style): string {
  if (agent.state === "absent") return agent.isMissed ? style.red(absentText) : style.dim(absentText);
  if (agent.state === "unanswering") return style.red("runs, and does not answer");
  const pass =
    agent.lastPassAtMs === undefined ? "no pass yet" : `last pass ${formatAge(agent.lastPassAtMs, nowMs)}`;
  const { startedAtMs } = agent;
  const started = startedAtMs === undefined ? "" : `, started ${formatAge(startedAtMs, nowMs)}`;
  return `running${started}, ${pass}`;
}

/** Shows the packets that went outside the tunnel. None is the proof that everything was encrypted. */
function renderPlaintext(plaintext: PeerStatus["plaintext"], nowMs: number, style: Style): string {
  if (plaintext === undefined) return style.dim("not counted");
  const { inPackets, outPackets, leakedPackets, lastAtMs } = plaintext;
  if (inPackets + outPackets === 0) return style.green("none");
  const age = lastAtMs === 0 ? "" : `, ${formatAge(lastAtMs, nowMs)}`;
  const text = `${inPackets} in, ${outPackets} out${age}`;
  return leakedPackets === 0 ? style.yellow(text) : style.red(text);
}

function renderWarnings(
  { plan, peers, agent, arrivals, refused: { sources }, localPods, pending, rejectedRecords }: Shown,
  style: Style,
): string {
  const refused = plan.ownership.refusals.map(
    ({ reason }) => `${style.yellow("!")} claim refused: ${reason}`,
  );
  const behind =
    pending.length === 0
      ? []
      : [
          `${style.red("✗")} ${countOf(pending.length, "change")} pending: \`wg-cni plan\` lists ${pending.length === 1 ? "it" : "them"}, \`wg-cni sync\` applies ${pending.length === 1 ? "it" : "them"}`,
        ];
  const { warning } = plan.hostEncryption;
  const hosts = warning === undefined ? [] : [`${style.yellow("!")} ${warning}`];
  const { unknown } = localPods;
  const unknownPods =
    unknown.length === 0
      ? []
      : [
          `${style.yellow("!")} ${countOf(unknown.length, "pod address")} outside the tunnel, not in this node's record or not routed by it, so not encrypted: ${shorten(unknown.map(describePod)).join(", ")}`,
        ];
  const outside = arrivals
    // The peers' own rows have what arrived in their names.
    .flatMap((one) => describeForeign(one) ?? [])
    .map((words) => `${style.yellow("!")} packets arrived outside the tunnel by ${words}`);
  const missingCapabilities = plan.missingCapabilities.map((why) => `${style.yellow("!")} ${why}`);
  const records = describeRecords(rejectedRecords, style);
  const cidrs = plan.refusedCIDRs.map(
    ({ reason }) => `${style.yellow("!")} cluster CIDR left out: ${reason}`,
  );
  const faults = plan.up ? [...plan.faults.values()].map(({ reason }) => `${style.red("✗")} ${reason}`) : [];
  const drifted = peers
    .flatMap((peer) => describeDrift(peer) ?? describeLoss(peer) ?? [])
    .map((line) => `${style.red("✗")} ${line}`);
  // The lines of peers name the sources of what is lost now.
  const refusedSources =
    sources.size === 0 || drifted.length > 0
      ? []
      : [
          `${style.yellow("!")} packets to other nodes have the source ${listSources(sources)}, which no node takes out of the tunnel`,
        ];
  const ports = shorten((agent.portGaps ?? []).filter(({ isLasting }) => isLasting).map(describePortGap)).map(
    (gap) => `${style.yellow("!")} ${gap}`,
  );
  const isNamed = [...plan.faults.values()].some(({ reason }) => reason === agent.problem);
  const problem = agent.problem === undefined || isNamed ? [] : [`${style.red("✗")} ${agent.problem}`];
  return [
    ...faults,
    ...drifted,
    ...problem,
    ...ports,
    ...refused,
    ...cidrs,
    ...unknownPods,
    ...outside,
    ...refusedSources,
    ...records,
    ...hosts,
    ...missingCapabilities,
    ...behind,
  ]
    .map(oneLine)
    .join("\n");
}

/** Describes faults of the records directory, and counts the rejected records. */
function describeRecords(rejected: readonly RejectedRecord[], style: Style): string[] {
  const isDirectory = ({ file }: RejectedRecord) => file.startsWith("/");
  const files = rejected.filter((one) => !isDirectory(one)).length;
  const warnings = rejected.filter(isDirectory).map(({ reason }) => reason);
  if (files > 0)
    warnings.push(
      `${countOf(files, "record")} ${files === 1 ? "was" : "were"} rejected: \`wg-cni peer list\` says why`,
    );
  return warnings.map((warning) => `${style.yellow("!")} ${warning}`);
}
