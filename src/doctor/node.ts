// Checks of the node itself: that it is up, that somebody decides and repairs,
// that what was asked for is on, and how old its keys are.
import { isObstacle } from "../kube/peers.ts";
import { countOf, formatAge, formatSpan } from "../net/human-format.ts";
import { showSetting } from "../plan/settings/settings.ts";
import type { NodeFacts } from "./facts.ts";
import { type Check, type Finding, fail, ok, shorten, warn } from "./finding.ts";

/** A rotation that is this late has not begun by itself. */
const lateMs = 3_600_000;
/** A rotation waits some minutes a slot; one that takes longer waits for something. */
const longRotationMs = 3_600_000;
/** Clocks of two readings, and of a kernel and us, differ by less. */
const clockSlackMs = 60_000;

export const nodeChecks: readonly Check[] = [
  {
    name: "node",
    why: "a node that is not up encrypts nothing",
    run: ({ node }) => {
      if (node === undefined) return undefined;
      if (node.identity === undefined)
        return fail(
          "this node was never up",
          "run `wg-cni up --pod-cidr CIDR` and import the other nodes' records",
        );
      const { name, up, slots } = node.identity;
      if (!up) return fail(`node ${name} is down`, "run `wg-cni up`");
      return ok(`node ${name} is up, with ${countOf(slots.length, "key")}`);
    },
  },
  {
    name: "observation",
    why: "what cannot be read cannot be judged: the checks that need it are left out",
    run: ({ failures, node, kernel }) => {
      if (node === undefined && failures.length === 0) return undefined;
      if (failures.length > 0)
        return fail("not everything could be read", "run as root, in the node's network namespace", failures);
      if (kernel === undefined) return ok("the store can be read");
      return ok("the store, links, addresses, routes, rules and devices can be read");
    },
  },
  {
    name: "agent",
    why: "where an agent decides and none runs, gates stay as they are: new peers are not encrypted, nothing is repaired",
    run: ({ node }) => (node?.identity?.up ? checkAgent(node) : undefined),
  },
  {
    name: "host encryption",
    why: "what was asked for should be on, or somebody should know why it is not",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { state, text, warning } = kernel.plan.hostEncryption;
      if (state === "off") return ok(text);
      if (state === "on") return warning === undefined ? ok(text) : warn(text, warning);
      return fail(text, warning ?? "look at the agent's log");
    },
  },
  {
    name: "keys",
    why: "a key that leaks is of use until it is exchanged",
    run: ({ node, nowMs }) => (node?.identity?.up ? checkKeys(node, nowMs) : undefined),
  },
  {
    name: "records",
    why: "a node whose record is refused is not encrypted, or by what it said before",
    run: ({ node }) => (node === undefined ? undefined : checkRecords(node)),
  },
  {
    name: "Kubernetes API",
    why: "without it nobody hears of nodes that come, leave or change their keys",
    run: ({ node }) => (node === undefined || node.settings.kubeconfig === "" ? undefined : checkApi(node)),
  },
];

function checkRecords({ settings, identity, rejectedRecords }: NodeFacts): Finding | undefined {
  const refused = rejectedRecords.filter(({ file }) => !isObstacle(file, identity?.name ?? ""));
  const { recordsDir, kubeconfig } = settings;
  const places = [recordsDir, kubeconfig === "" ? "" : "the Kubernetes API"].filter((place) => place !== "");
  const where = places.join(" and ");
  if (refused.length === 0) return where === "" ? undefined : ok(`all records in ${where} were taken`);
  return warn(
    `${countOf(refused.length, "record")} in ${where} ${refused.length === 1 ? "was" : "were"} not taken`,
    "correct them where they are written: on their nodes",
    shorten(refused.map(({ file, reason }) => `${file}: ${reason}`)),
  );
}

function checkApi({ identity, rejectedRecords }: NodeFacts): Finding {
  const inTheWay = rejectedRecords.filter(({ file }) => isObstacle(file, identity?.name ?? ""));
  if (inTheWay.length === 0) return ok("the agent exchanges records through it");
  return warn(
    inTheWay.map(({ reason }) => reason).join(" "),
    "see what it says; until then the mesh goes on as it is",
  );
}

function checkAgent({ agentRuns, gated, settings, overrides }: NodeFacts): Finding {
  if (agentRuns && gated) return ok("runs, and decides how each peer is reached");
  if (agentRuns) return warn("runs, but has not decided anything yet", "look at its log");
  if (gated)
    return fail(
      "the routes of this node are an agent's to decide, and none runs",
      "start its service, or run `wg-cni agent`; to go on without one: `wg-cni down`, then `wg-cni up`",
    );
  const wanting = [
    ...(settings.hostEncryption ? ["hostEncryption"] : []),
    ...(settings.recordsDir === "" ? [] : ["recordsDir"]),
    ...(settings.kubeconfig === "" ? [] : ["kubeconfig"]),
    ...(overrides["keyRotation"] === undefined || settings.keyRotation === 0 ? [] : ["keyRotation"]),
  ];
  if (wanting.length > 0)
    return warn(
      `none runs, and ${wanting.join(", ")} ${wanting.length === 1 ? "needs" : "need"} one`,
      "run `wg-cni agent`",
    );
  return ok("none: imported peers are routed at once, and nothing is repaired or rotated by itself");
}

function checkKeys(
  { identity, settings, agentRuns, rotation, overrides }: NodeFacts,
  nowMs: number,
): Finding {
  const made = (identity?.slots ?? []).map(({ createdAtMs }) => createdAtMs).filter((at) => at > 0);
  const oldest = Math.min(...made);
  const age = made.length === 0 ? "of unknown age" : `made ${formatAge(oldest, nowMs)}`;
  if (made.some((at) => at > nowMs + clockSlackMs))
    return warn(
      "a key was made later than now: the clock was wrong then, or is now",
      "compare `date` with another node's",
    );
  const { phase, startedAtMs = nowMs } = rotation ?? {};
  if (phase !== undefined && phase !== "off" && phase !== "scheduled") {
    const since = formatAge(startedAtMs, nowMs);
    const reason = rotation !== undefined && "reason" in rotation ? `: ${rotation.reason}` : "";
    if (phase === "held" || nowMs - startedAtMs > longRotationMs)
      return warn(
        `a rotation that began ${since} does not go on${reason}`,
        "look at the agent's log: it names the peers that it waits for",
      );
    return ok(`a rotation goes on since ${since}`);
  }
  if (settings.keyRotation === 0) return ok(`${age}, and not rotated: keyRotation is off`);
  const period = showSetting("keyRotation", settings.keyRotation);
  const isAsked = overrides["keyRotation"] !== undefined;
  if (!agentRuns && !isAsked) return ok(`${age}; without an agent they stay until \`wg-cni key rotate\``);
  const lateBy = phase === "scheduled" && rotation?.phase === "scheduled" ? nowMs - rotation.nextAtMs : 0;
  if (lateBy > lateMs)
    return warn(
      `${age}, ${formatSpan(lateBy)} over the ${period} that they should live`,
      agentRuns ? "look at the agent's log" : "run `wg-cni agent`",
    );
  return ok(`${age}, to live ${period}`);
}
