// Checks of the other nodes as this one sees them: who is not encrypted, who
// does not answer, who is refused what it claims, and what went in plaintext.
import { countOf, formatAge, formatBytes, formatSpan } from "../net/human-format.ts";
import { describeForeign } from "../plan/report/arrivals.ts";
import type { PeerStatus } from "../plan/report/status.ts";
import type { Facts, KernelFacts } from "./facts.ts";
import { type Check, type Finding, fail, ok, shorten, warn } from "./finding.ts";

/** WireGuard's own times are this coarse beside the wall clock. */
const clockSlackMs = 5_000;
/** With keepalives a handshake is renewed after two minutes; this one was not. */
const overdueMs = 240_000;

export const peerChecks: readonly Check[] = [
  {
    name: "peer keys",
    why: "without a key nothing can be encrypted: such a peer is reached in plaintext, or in strict mode not at all",
    run: withPeers(({ peers }) => {
      const keyless = peers.filter(({ state }) => state === "keyless");
      if (keyless.length === 0)
        return ok(`${peers.length === 1 ? "the peer has" : `all ${peers.length} peers have`} keys`);
      return warn(
        `${countOf(keyless.length, "peer")} without a key`,
        "run `wg-cni up` there, and import its record here",
        shorten(
          keyless.map(
            ({ name, reach }) => `${name}, ${reach === "plaintext" ? "reached in plaintext" : "refused"}`,
          ),
        ),
      );
    }),
  },
  {
    name: "handshakes",
    why: "a peer is encrypted once a handshake has succeeded; until then its gate is closed, or what is sent to it is lost",
    run: withPeers((kernel) => checkHandshakes(kernel)),
  },
  {
    name: "silence",
    why: "what is sent to a peer that does not answer is lost",
    run: withPeers((kernel, { nowMs }) => checkSilence(kernel, nowMs)),
  },
  {
    name: "clock",
    why: "peers refuse handshakes that are older than the last one, so a clock that was set back keeps this node from beginning any",
    run: withPeers(({ peers }, { nowMs }) => {
      const ahead = Math.max(0, ...peers.map(({ lastHandshakeMs }) => lastHandshakeMs - nowMs));
      if (ahead <= clockSlackMs) return ok("no handshake is ahead of the clock");
      return warn(
        `the last handshake is ${formatSpan(ahead)} ahead of the clock, which was set back since`,
        "set the clock right (`timedatectl`, `chronyc tracking`); until it has caught up, only the other side can begin a handshake",
      );
    }),
  },
  {
    name: "claims",
    why: "a key, CIDR or address belongs to whoever claimed it first; the other is not encrypted there",
    run: withPeers(({ plan: { ownership } }) => {
      const { refusals } = ownership;
      if (refusals.length === 0) return ok("no peer claims what is another's");
      return warn(
        `${countOf(refusals.length, "claim")} of peers ${refusals.length === 1 ? "was" : "were"} refused`,
        "let one of the two give it up: `wg-cni up --pod-cidr` there, or `wg-cni peer remove` here",
        shorten(refusals.map(({ reason }) => reason)),
      );
    }),
  },
  {
    name: "plaintext",
    why: "packets between pods of different nodes should not be seen on the wire",
    run: withPeers((kernel) => checkPlaintext(kernel)),
  },
  {
    name: "spoofed sources",
    why: "what claims an address that its interface does not lead to was sent by somebody else: it counts for no peer",
    run: withPeers((kernel) => checkSpoofed(kernel)),
  },
];

/** Of a node that is up and knows others. */
function withPeers(run: (kernel: KernelFacts, facts: Facts) => Finding | undefined): Check["run"] {
  return (facts) => {
    const { kernel } = facts;
    return kernel === undefined || !kernel.plan.up || kernel.peers.length === 0
      ? undefined
      : run(kernel, facts);
  };
}

function checkHandshakes({ plan, peers }: KernelFacts): Finding {
  const waiting = peers.filter(({ state }) => state === "waiting");
  const lost = peers.filter(({ state, txBytes }) => state === "unanswered" && txBytes > 0);
  const unused = peers.filter(({ state, txBytes }) => state === "unanswered" && txBytes === 0);
  const lines = [...lost, ...waiting].map((peer) => describeWaiting(plan.ownership.peers, peer));
  if (lines.length > 0)
    return (lost.length > 0 ? fail : warn)(
      `${countOf(lines.length, "peer")} never completed a handshake with this node`,
      lookAtPath(plan),
      shorten(lines),
    );
  const done = peers.filter(({ lastHandshakeMs }) => lastHandshakeMs > 0).length;
  const rest = unused.length === 0 ? "" : `; nothing was sent to ${countOf(unused.length, "other")} yet`;
  return ok(`${countOf(done, "peer")} completed a handshake${rest}`);
}

function describeWaiting(records: KernelFacts["plan"]["ownership"]["peers"], peer: PeerStatus): string {
  const { name, state, reach, endpoint, txBytes } = peer;
  const to = endpoint ?? records.find((record) => record.name === name)?.endpoints.join(", ") ?? "nowhere";
  if (state === "unanswered") return `${name} (${to}): ${formatBytes(txBytes)} sent, nothing came back`;
  return `${name} (${to}): the gate is closed, ${reach === "plaintext" ? "reached in plaintext" : "refused"}`;
}

function checkSilence({ plan, peers }: KernelFacts, nowMs: number): Finding {
  const keepsAlive = plan.settings.persistentKeepalive > 0;
  const silent = peers.filter(
    ({ state, lastHandshakeMs }) =>
      state === "silent" || (state === "idle" && keepsAlive && nowMs - lastHandshakeMs > overdueMs),
  );
  if (silent.length === 0) return ok("no peer is sent to in vain");
  return fail(
    `${countOf(silent.length, "peer")} no longer ${silent.length === 1 ? "answers" : "answer"}`,
    lookAtPath(plan),
    shorten(
      silent.map(
        ({ name, endpoint, lastHandshakeMs }) =>
          `${name} (${endpoint ?? "nowhere"}): last handshake ${formatAge(lastHandshakeMs, nowMs)}`,
      ),
    ),
  );
}

/** What stands between two nodes that do not shake hands, in the order in which it is worth looking. */
function lookAtPath({ settings: { portA, portB }, mtu }: KernelFacts["plan"]): string {
  const dev = mtu.uplinks[0]?.dev ?? "any";
  return `see whether UDP ${portA} and ${portB} pass both ways (\`tcpdump -ni ${dev} udp port ${portA} or udp port ${portB}\` on both), firewalls and security groups between, the peer's endpoint, and \`wg-cni doctor\` there`;
}

function checkSpoofed({ plan, hasFirewall, arrivals }: KernelFacts): Finding | undefined {
  if (!hasFirewall) return undefined;
  const some = arrivals.flatMap((one) => describeForeign(one) ?? []);
  if (some.length === 0) return ok("no packet claimed a source that its interface does not lead to");
  return warn(
    `packets with a source that they cannot have arrived by ${countOf(some.length, "interface")}${plan.settings.mode === "strict" ? " and were dropped" : ""}`,
    "by a pod's link: find the pod (`ip route | grep INTERFACE`); by another one: see who in that network sends them (`tcpdump -eni INTERFACE`), whether peers are routed by another interface than they answer by, and for addresses of no announced pod, which node does not run wg-cni",
    shorten(some),
  );
}

function checkPlaintext({ plan, peers }: KernelFacts): Finding | undefined {
  const counted = peers.filter(({ plaintext }) => plaintext !== undefined);
  if (counted.length === 0) return undefined;
  const some = counted.flatMap(({ name, plaintext }) => {
    const { inPackets = 0, outPackets = 0 } = plaintext ?? {};
    return inPackets + outPackets === 0 ? [] : [`${name}: ${inPackets} in, ${outPackets} out`];
  });
  if (some.length === 0) return ok("no packet of a pod went outside the tunnel");
  if (plan.settings.mode === "off") return ok("packets of pods go in plaintext, as the mode is off");
  if (plan.settings.mode === "strict")
    return warn(
      `packets of pods outside the tunnel were dropped, of ${countOf(some.length, "peer")}`,
      "what comes in plaintext: run `wg-cni doctor` on the node that sends it; for or from an address that is no node IP, see `node IPs`",
      shorten(some),
    );
  return warn(
    `packets of pods went in plaintext, of ${countOf(some.length, "peer")}`,
    "right while a gate was closed; where the numbers grow although it is open, see whether they are for an address that is no node IP (`node IPs`, on both nodes), and what else reroutes them (NAT, policy rules of others)",
    shorten(some),
  );
}
