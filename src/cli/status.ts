// `status` compares the kernel with the store. The exit code is 3 if they differ, so that a probe can
// use it.

import { shorten } from "../doctor/finding.ts";
import { countOf, formatAge, formatBytes } from "../net/human-format.ts";
import { describeEndpoints } from "../plan/host/endpoints.ts";
import { keyOf, slots } from "../plan/peers/path.ts";
import { describePod, type LocalPods } from "../plan/pods/local-pods.ts";
import { describeArrivals, type InterfaceArrivals } from "../plan/report/arrivals.ts";
import { describePeers, type PeerStatus } from "../plan/report/peer-status";
import {
  type Mode,
  type SettingName,
  settingNames,
  showSetting,
  slotDevice,
} from "../plan/settings/settings.ts";
import { settingTable } from "../plan/settings/table.ts";
import { observeTransport } from "../reconcile/endpoints.ts";
import type { MeshPlan } from "../reconcile/mesh-plan.ts";
import { areAllFaulty } from "../reconcile/slots.ts";
import { observeLocalPods } from "../sources/pod-addresses.ts";
import type { RejectedRecord } from "../state/model.ts";
import type { Context, Output } from "./command.ts";
import { type RotationStatus, readRotation, renderRotation } from "./rotation.ts";
import { openSession, renderPlan } from "./session.ts";
import { alignColumns, oneLine, type Style } from "./style.ts";

const notAsItShouldBe = 3;

/** The states of the node itself, as the text has them. */
export const nodeStates = {
  never: "never up",
  down: "down",
  faulty: "up, and cannot encrypt",
  pending: "not as it should be",
  up: "up",
} as const;

export function status(context: Context): Output {
  using session = openSession(context);
  const identity = session.store.identity();
  if (identity === undefined) return describeMissing();
  const plan = session.plan();
  const plaintext = session.readPlaintext(plan.ownership.peers);
  const peers = describePeers(plan, context.nowMs, session.readDevices(plan.settings), plaintext.byPeer);
  const overrides = session.store.settings();
  const mesh = session.store.meshSettings();
  const pods = session.store.attachments().length;
  const localPods = observeLocalPods(session, plan.settings);
  const pending = renderPlan(plan);
  const rejectedRecords = session.store.rejectedRecords();
  const rotation = readRotation(session.store, identity, context.nowMs);
  const endpointsFrom = describeEndpoints(identity, observeTransport(plan.settings, session.kernel));
  const isFailed = [...plan.faults.values()].some(({ kind }) => kind === "failure");
  const good = plan.up && pending.length === 0 && !isFailed && !areAllFaulty(plan.faults);
  return {
    json: {
      node: plan.node,
      up: plan.up,
      backend: plan.linkKind === "wireguard" ? "kernel" : "userspace",
      endpointsFrom,
      mtu: plan.mtu,
      missingCapabilities: plan.missingCapabilities,
      generation: plan.generation,
      rotation,
      hostEncryption: plan.hostEncryption,
      pending,
      faults: [...plan.faults].map(([slot, { reason }]) => ({ slot, reason })),
      pods,
      earlierPods: localPods.earlier,
      unknownPods: localPods.unknown,
      peers,
      plaintextArrivals: plaintext.byInterface,
      strayPackets: plaintext.strayPackets,
      refusedClaims: plan.ownership.refusals,
      refusedCIDRs: plan.refusedCIDRs,
      rejectedRecords,
      settings: settingNames.map((name) => describeSetting(plan, name, overrides, mesh)),
    },
    text: (style) =>
      renderStatus(
        {
          plan,
          peers,
          arrivals: plaintext.byInterface,
          pods,
          localPods,
          pending,
          rejectedRecords,
          rotation,
          endpointsFrom,
          overrides,
          nowMs: context.nowMs,
        },
        style,
      ),
    exitCode: good ? 0 : notAsItShouldBe,
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

interface Shown {
  readonly plan: MeshPlan;
  readonly peers: readonly PeerStatus[];
  readonly arrivals: readonly InterfaceArrivals[];
  readonly pods: number;
  readonly localPods: LocalPods;
  readonly pending: readonly string[];
  readonly rejectedRecords: readonly RejectedRecord[];
  readonly rotation: RotationStatus;
  /** The origin of the endpoints, as text. */
  readonly endpointsFrom: string;
  readonly overrides: Record<string, unknown>;
  readonly nowMs: number;
}

function renderStatus(shown: Shown, style: Style): string {
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
  const { plan, peers, pending, rotation, endpointsFrom, overrides, nowMs } = shown;
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
    [style.bold("keys"), renderRotation(rotation, nowMs)],
    [style.bold("hosts"), renderHostEncryption(plan, style)],
    [style.bold("pods"), `${countPods(shown)}; ${node.podCIDRs.join(", ") || "no CIDR of the node's own"}`],
    [style.bold("peers"), `${encrypted} of ${peers.length} encrypted`],
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

function countPods({ pods, localPods: { earlier } }: Shown): string {
  return earlier.length === 0
    ? `${pods} here`
    : `${pods} here, and ${earlier.length} that wg-cni did not attach`;
}

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
    "SLOT",
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
    peer.slot ?? "-",
    peer.endpoint ?? "-",
    peer.slot === undefined && peer.lastHandshakeMs === 0 ? "-" : formatAge(peer.lastHandshakeMs, nowMs),
    formatBytes(peer.rxBytes),
    formatBytes(peer.txBytes),
    renderPlaintext(peer.plaintext, style),
    peer.podCIDRs.join(", ") || "-",
  ]);
  return alignColumns([head, ...rows]);
}

/** Shows the state of a peer, and how packets to its pods go if not through the tunnel. */
function renderState({ state, reach }: PeerStatus, style: Style): string {
  if (reach === "plaintext") return style.yellow(`${state}, in plaintext`);
  if (reach === "refused") return style.red(`${state}, refused`);
  return state === "unanswered" || state === "silent" ? style.yellow(state) : style.green(state);
}

/** Shows the packets that went outside the tunnel. None is the proof that everything was encrypted. */
function renderPlaintext(plaintext: PeerStatus["plaintext"], style: Style): string {
  if (plaintext === undefined) return style.dim("not counted");
  const { inPackets, outPackets } = plaintext;
  if (inPackets + outPackets === 0) return style.green("none");
  return style.red(`${inPackets} in, ${outPackets} out`);
}

function renderWarnings(
  { plan, arrivals, localPods, pending, rejectedRecords }: Shown,
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
    .flatMap((one) => describeArrivals(one) ?? [])
    .map((words) => `${style.yellow("!")} packets arrived outside the tunnel by ${words}`);
  const missingCapabilities = plan.missingCapabilities.map((why) => `${style.yellow("!")} ${why}`);
  const records = describeRecords(rejectedRecords, style);
  const cidrs = plan.refusedCIDRs.map(
    ({ reason }) => `${style.yellow("!")} cluster CIDR left out: ${reason}`,
  );
  const faults = plan.up ? [...plan.faults.values()].map(({ reason }) => `${style.red("✗")} ${reason}`) : [];
  return [
    ...faults,
    ...refused,
    ...cidrs,
    ...unknownPods,
    ...outside,
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
