// `rollout` sets the mode of the whole cluster, which its agents follow. It makes a step up only if
// every node has reported that it would lose no packet, and else refuses it with the list of the
// missing nodes. It makes a step down at once.
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { KubeError } from "../kube/error.ts";
import { formatMesh, meshesPath, meshName, readMesh } from "../kube/mesh-object.ts";
import { objectsPath } from "../kube/object.ts";
import { describeRollout, isUp, modes, type Rollout } from "../kube/rollout.ts";
import { KubeClient } from "../kubeclient/client.ts";
import { KubeCredentials } from "../kubeclient/credentials.ts";
import { listAll, listNames } from "../kubeclient/list.ts";
import { anyOf, countOf } from "../net/human-format.ts";
import type { Mode } from "../plan/settings/settings.ts";
import { type Context, findValue, type Output, UsageError } from "./command.ts";
import { alignColumns, type Style, wrapText } from "./style.ts";

const nodesPath = "/api/v1/nodes";
/** Linux is the only system that an agent runs on, and a virtual node runs none. */
export const usualSelector = "kubernetes.io/os!=windows,type!=virtual-kubelet";
const requestMs = 30_000;
/** The limit for reading all objects of a large cluster. */
const limitMs = 120_000;
const notReady = 3;
/** Further nodes are only in `--json`. */
const maxShown = 20;
const maxLeftOut = 3;
const messageColumns = 100;

export async function rollout(context: Context): Promise<Output> {
  const to = readMode(context.given.positional[0]);
  const client = connect(context);
  const signal = AbortSignal.timeout(limitMs);
  const now = await readRollout(client, findValue(context.given, "selector") ?? usualSelector, signal);
  if (to === undefined) return { json: now, text: (style) => renderRollout(now, style) };
  if (to === now.mode)
    return {
      json: { ...now, changed: false },
      text: (style) => `The mode is ${to} already\n\n${renderRollout(now, style)}`,
    };
  if (isUp(now.mode, to) && to !== now.next) throw new UsageError(explainLeap(now, to));
  if (isUp(now.mode, to) && now.missing.length > 0) return refuse(now, to);
  try {
    await client.apply(`${meshesPath}/${meshName}`, formatMesh(to), signal);
  } catch (error) {
    if (now.mode === undefined && isRefusal(error)) return refuseStart(now, to, error);
    throw error;
  }
  return { json: { ...now, mode: to, changed: true }, text: (style) => renderChange(now, to, style) };
}

function readMode(text: string | undefined): Mode | undefined {
  if (text === undefined || modes.includes(text as Mode)) return text as Mode | undefined;
  throw new UsageError(`rollout: "${text}" is no mode, which are ${anyOf(modes)}`);
}

/** Finds the cluster as kubectl does. */
function connect({ given, version }: Context): KubeClient {
  const named = findValue(given, "kubeconfig") ?? process.env["KUBECONFIG"];
  const place = named ?? `${homedir()}/.kube/config`;
  if (named === undefined && !existsSync(place))
    throw new UsageError(`there is no ${place}: give the kubeconfig of an administrator with --kubeconfig`);
  const credentials = new KubeCredentials(place, process.env);
  return new KubeClient(credentials, { userAgent: `wg-cni/${version}`, requestMs, wallClock: Date.now });
}

/** `labelSelector` selects the Nodes that are to have an agent. */
async function readRollout(client: KubeClient, labelSelector: string, signal: AbortSignal): Promise<Rollout> {
  const [meshes, records, nodes, all] = await Promise.all([
    listAll(client, meshesPath, signal),
    listAll(client, objectsPath, signal),
    listNames(client, nodesPath, { labelSelector }, signal),
    listNames(client, nodesPath, {}, signal),
  ]);
  const { mode } = meshes.map(readMesh).find((mesh) => mesh?.name === meshName) ?? {};
  const selected = new Set(nodes);
  const others = all.filter((name) => !selected.has(name));
  return describeRollout({ ...(mode === undefined ? {} : { mode }), nodes, others, records });
}

function explainLeap({ mode, next }: Rollout, to: Mode): string {
  return `from ${mode} the next step is ${next}, and then ${to}: each is measured before the next`;
}

function refuse(now: Rollout, to: Mode): Output {
  return {
    json: { ...now, changed: false },
    text: (style) =>
      `${style.red("✗")} mode ${to} is refused: ${countOf(now.missing.length, "node")} would lose packets\n\n${renderRollout(now, style)}`,
    exitCode: notReady,
  };
}

/** True if a policy of the API server has refused the request, not the network or the server's load. */
function isRefusal(error: unknown): error is KubeError {
  return error instanceof KubeError && (error.failure.status === 403 || error.failure.status === 422);
}

/** A cluster whose nodes may have pods does not begin in strict mode; the API server knows which do. */
function refuseStart(now: Rollout, to: Mode, { message }: KubeError): Output {
  return {
    json: { ...now, changed: false, refusal: message },
    text: (style) =>
      `${style.red("✗")} a rollout does not begin with mode ${to}: begin with \`wg-cni rollout ${now.next}\`, and \`wg-cni rollout ${to}\` follows once nothing is missing\n\n${wrapText(message, messageColumns).join("\n")}\n\n${renderRollout(now, style)}`,
    exitCode: notReady,
  };
}

function renderChange(before: Rollout, to: Mode, style: Style): string {
  const from = before.mode === undefined ? "" : `, which was ${before.mode}`;
  const lines = [
    `${style.green("✓")} the mode of the cluster is ${to}${from}`,
    "  Agents follow as soon as they have read it; each reports it within a minute: `wg-cni rollout`.",
  ];
  if (before.mode === "strict" && to === "off")
    lines.push(
      `${style.yellow("!")} until a node has read the new mode, it drops packets that peers send in plaintext`,
    );
  return `${lines.join("\n")}\n`;
}

function renderRollout(now: Rollout, style: Style): string {
  const { mode, nodes, inMode, covered, missing, leftOut } = now;
  const head = [
    [style.bold("mode"), mode ?? style.yellow("each node's own: there is no WireGuardMesh default")],
    ...(mode === undefined ? [] : [[style.bold("nodes"), `${inMode} of ${nodes} report it`]]),
    [style.bold("covered"), `${covered} of ${nodes}`],
    ...(leftOut.length === 0 ? [] : [[style.bold("left out"), describeLeftOut(leftOut)]]),
  ];
  const rows = missing.slice(0, maxShown).map(({ node, reason }) => [style.red("✗"), node, reason]);
  const more = missing.length - rows.length;
  return [
    alignColumns(head),
    ...(rows.length === 0 ? [] : [alignColumns(rows)]),
    ...(more > 0 ? [`  and ${more} more; \`wg-cni rollout --json\` has them all`] : []),
    renderNext(now, style),
  ]
    .join("\n\n")
    .concat("\n");
}

function describeLeftOut(nodes: readonly string[]): string {
  const names = nodes.slice(0, maxLeftOut).join(", ");
  const more = nodes.length > maxLeftOut ? ` and ${nodes.length - maxLeftOut} more` : "";
  return `${countOf(nodes.length, "node")} without an agent: ${names}${more}`;
}

function renderNext({ mode, next, missing }: Rollout, style: Style): string {
  if (mode === undefined)
    return `${style.yellow("!")} \`wg-cni rollout ${next}\` begins a rollout, and changes no node's mode`;
  if (next === undefined) {
    if (missing.length === 0) return `${style.green("✓")} nothing of a pod leaves a node in plaintext`;
    return `${style.yellow("!")} pods of these nodes may not reach each other; \`wg-cni rollout permissive\` goes back`;
  }
  if (missing.length > 0) return `Next is ${next}, once nothing is missing.`;
  return `${style.green("✓")} nothing is missing for ${next}: \`wg-cni rollout ${next}\``;
}
