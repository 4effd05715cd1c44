// Checks of the node itself: it is up, an agent decides and repairs, the requested features are
// on, and its keys are not too old.
import { isObstacle } from "../kube/record-entries.ts";
import { countOf, formatAge, formatSpan } from "../net/human-format.ts";
import { listDependents } from "../plan/report/agent-status.ts";
import { showSetting } from "../plan/settings/settings.ts";
import type { NodeFacts } from "./facts.ts";
import { type Check, type Finding, fail, ok, shorten, warn } from "./finding.ts";

/** A rotation that is this late did not begin by itself. */
const lateMs = 3_600_000;
/** A rotation waits some minutes for each slot; one that takes longer than this is stuck. */
const longRotationMs = 3_600_000;
/** The clocks of two readings, and of the kernel and this process, differ by less. */
const clockSlackMs = 60_000;

export const nodeChecks: readonly Check[] = [
  {
    name: "node",
    impact: "a node that is not up encrypts nothing",
    run: ({ node, files }) => {
      if (node === undefined) return undefined;
      const { devicesWithoutIdentity: devices } = node;
      if (devices.length > 0)
        return fail(
          `${files.stateDir} knows no identity of this node, and ${devices.join(" and ")} ${devices.length === 1 ? "is" : "are"} there`,
          "if an agent runs with another --state-dir, name that; if the state was removed or is a new one, restart the agent, or run `wg-cni up` as it was run before",
        );
      if (node.identity === undefined)
        return fail(
          "this node was never up",
          node.settings.kubeconfig === ""
            ? "run `wg-cni up --pod-cidr CIDR` and import the other nodes' records"
            : "the agent takes the node's identity from its Node object: start the agent, or see its log for what it waits for",
        );
      const { name, up, slots } = node.identity;
      if (!up) return fail(`node ${name} is down`, "run `wg-cni up`");
      return ok(`node ${name} is up, with ${countOf(slots.length, "key")}`);
    },
  },
  {
    name: "observation",
    impact: "doctor leaves out the checks whose facts it cannot read",
    run: ({ failures, node, kernel }) => {
      if (node === undefined && failures.length === 0) return undefined;
      if (failures.length > 0)
        return fail(
          "doctor could not read all facts",
          "run as root, in the node's network namespace",
          failures,
        );
      if (kernel === undefined) return ok("the store can be read");
      return ok("the store, links, addresses, routes, rules and devices can be read");
    },
  },
  {
    name: "agent",
    impact:
      "if an agent is to decide and none runs, gates stay as they are: new peers are not encrypted, and nothing is repaired",
    run: ({ node }) => (node?.identity?.up ? checkAgent(node) : undefined),
  },
  {
    name: "host encryption",
    impact: "host encryption should be on if it was requested",
    run: ({ kernel }) => {
      if (kernel === undefined || !kernel.plan.up) return undefined;
      const { state, text, warning } = kernel.plan.hostEncryption;
      if (state === "off") return ok(text);
      if (state === "on") return warning === undefined ? ok(text) : warn(text, warning);
      return fail(text, warning ?? "see the agent's log");
    },
  },
  {
    name: "keys",
    impact: "a leaked key can be misused until it is rotated",
    run: ({ node, nowMs }) => (node?.identity?.up ? checkKeys(node, nowMs) : undefined),
  },
  {
    name: "records",
    impact: "a node whose record is rejected is not encrypted, or only as its previous record says",
    run: ({ node }) => (node === undefined ? undefined : checkRecords(node)),
  },
  {
    name: "Kubernetes API",
    impact: "without the API the agent does not learn of nodes that join, leave or change their keys",
    run: ({ node }) => (node === undefined || node.settings.kubeconfig === "" ? undefined : checkApi(node)),
  },
];

function checkRecords({ settings, identity, rejectedRecords }: NodeFacts): Finding | undefined {
  const rejected = rejectedRecords.filter(({ file }) => !isObstacle(file, identity?.name ?? ""));
  const { recordsDir, kubeconfig } = settings;
  const places = [recordsDir, kubeconfig === "" ? "" : "the Kubernetes API"].filter((place) => place !== "");
  const where = places.join(" and ");
  if (rejected.length === 0) return where === "" ? undefined : ok(`all records in ${where} were accepted`);
  return warn(
    `${countOf(rejected.length, "record")} in ${where} ${rejected.length === 1 ? "was" : "were"} rejected`,
    "correct each record where it is written: on its own node",
    shorten(rejected.map(({ file, reason }) => `${file}: ${reason}`)),
  );
}

function checkApi({ identity, rejectedRecords }: NodeFacts): Finding {
  const obstacles = rejectedRecords.filter(({ file }) => isObstacle(file, identity?.name ?? ""));
  if (obstacles.length === 0) return ok("the agent exchanges records through the Kubernetes API");
  return warn(
    obstacles.map(({ reason }) => reason).join(" "),
    "mend what the message names; until then the mesh stays as it is",
  );
}

function checkAgent({ agent, gated, settings, overrides }: NodeFacts): Finding {
  if (agent.state === "unanswering")
    return fail(
      "an agent runs, and does not answer: nothing is repaired, keys are not rotated",
      "see its log; if it has stopped, start its service or its pod again",
      agent.problem === undefined ? [] : [agent.problem],
    );
  if (agent.problem !== undefined)
    return fail("an agent runs, and is not ready", "mend what the line names", [agent.problem]);
  const runs = agent.state === "running";
  if (runs && gated) return ok("an agent runs and decides how each peer is reached");
  if (runs) return warn("an agent runs, but has not decided anything yet", "see its log");
  if (gated)
    return fail(
      "an agent is to decide the routes of this node, and none runs",
      "start its service, or run `wg-cni agent`; to go on without one: `wg-cni down`, then `wg-cni up`",
    );
  const dependents = listDependents({ settings, overrides });
  if (dependents.length > 0)
    return fail(
      `no agent runs, and ${dependents.join(", ")} ${dependents.length === 1 ? "needs" : "need"} one`,
      "run `wg-cni agent`",
    );
  return ok("no agent: imported peers are routed at once, and nothing is repaired or rotated automatically");
}

function checkKeys({ identity, settings, agent, rotation, overrides }: NodeFacts, nowMs: number): Finding {
  const agentRuns = agent.state !== "absent";
  const made = (identity?.slots ?? []).map(({ createdAtMs }) => createdAtMs).filter((at) => at > 0);
  const oldest = Math.min(...made);
  const age =
    made.length === 0 ? "the keys are of unknown age" : `the keys were made ${formatAge(oldest, nowMs)}`;
  if (made.some((at) => at > nowMs + clockSlackMs))
    return warn(
      "the creation time of a key is in the future: the clock was wrong then, or is wrong now",
      "compare `date` with another node's",
    );
  const { phase, startedAtMs = nowMs } = rotation ?? {};
  if (phase !== undefined && phase !== "off" && phase !== "scheduled") {
    const since = formatAge(startedAtMs, nowMs);
    const reason = rotation !== undefined && "reason" in rotation ? `: ${rotation.reason}` : "";
    if (phase === "held" || nowMs - startedAtMs > longRotationMs)
      return warn(
        `a rotation that began ${since} makes no progress${reason}`,
        "see the agent's log: it names the peers that the rotation waits for",
      );
    return ok(`a rotation that began ${since} is in progress`);
  }
  if (settings.keyRotation === 0) return ok(`${age} and are not rotated: keyRotation is off`);
  const period = showSetting("keyRotation", settings.keyRotation);
  const isAsked = overrides["keyRotation"] !== undefined;
  if (!agentRuns && !isAsked) return ok(`${age}; without an agent they stay until \`wg-cni key rotate\``);
  const lateBy = phase === "scheduled" && rotation?.phase === "scheduled" ? nowMs - rotation.nextAtMs : 0;
  if (lateBy > lateMs)
    return warn(
      `${age}: their rotation is ${formatSpan(lateBy)} overdue (keyRotation ${period})`,
      agentRuns ? "see the agent's log" : "run `wg-cni agent`",
    );
  return ok(`${age} and are rotated every ${period}`);
}
