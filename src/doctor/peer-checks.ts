// Checks of the peers as this node sees them: which are not encrypted, which do not answer, whose
// claims are refused, and which packets went in plaintext.
import { countOf, formatAge, formatBytes, formatSpan } from "../net/human-format.ts";
import { describeForeign } from "../plan/report/arrivals.ts";
import {
  clockSlackMs,
  describeDrift,
  describeLoss,
  isWell,
  type PeerStatus,
} from "../plan/report/peer-status.ts";
import { listSources } from "../plan/report/refused-sources.ts";
import { areAllFaulty } from "../reconcile/slots.ts";
import type { Facts, KernelFacts } from "./facts.ts";
import { type Check, type Finding, fail, ok, shorten, warn } from "./finding.ts";

export const peerChecks: readonly Check[] = [
  {
    name: "peer keys",
    impact:
      "traffic to a peer without a key cannot be encrypted: it goes in plaintext, or is refused in strict mode",
    run: withPeers(({ peers, plan }) => {
      const keyless = peers.filter(({ state }) => state === "keyless");
      if (keyless.length === 0)
        return ok(`${peers.length === 1 ? "the peer has" : `all ${peers.length} peers have`} keys`);
      return failUnlessWell(keyless, plan)(
        `${countOf(keyless.length, "peer")} ${keyless.length === 1 ? "has" : "have"} no key`,
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
    name: "packet paths",
    impact: "packets go where the kernel sends them, whatever the agent has decided",
    run: withPeers(({ peers }) => {
      const drifted = peers.flatMap((peer) => describeDrift(peer) ?? []);
      if (drifted.length === 0) return ok("the kernel sends packets for every peer where they should go");
      return fail(
        `packets for ${countOf(drifted.length, "peer")} go another way than they should`,
        "`wg-cni sync` sets routes, rules, devices and peers right; if it does not help, `plan` shows nothing to do, and another program is in the way: see `bypass rules`; if encrypted packets have no way to the peer, see `endpoint` and `ip route`",
        shorten(drifted),
      );
    }),
  },
  {
    name: "handshakes",
    impact:
      "traffic to a peer is encrypted after a handshake; until then the peer's gate is closed, or packets to it are lost",
    // Without a slot of its own the node cannot make any: the check of the slots names the cause.
    run: withPeers((kernel) => (areAllFaulty(kernel.plan.faults) ? undefined : checkHandshakes(kernel))),
  },
  {
    name: "silence",
    impact: "packets to a peer that does not answer are lost",
    run: withPeers((kernel, { nowMs }) => checkSilence(kernel, nowMs)),
  },
  {
    name: "clock",
    impact:
      "peers refuse handshakes that are older than the last one, so this node cannot begin any after its clock was set back",
    run: withPeers(({ peers }, { nowMs }) => {
      const ahead = Math.max(0, ...peers.map(({ lastHandshakeMs }) => lastHandshakeMs - nowMs));
      if (ahead <= clockSlackMs) return ok("no handshake is ahead of the clock");
      return warn(
        `the last handshake is ${formatSpan(ahead)} ahead of the clock, which was set back since`,
        "set the clock right (`timedatectl`, `chronyc tracking`); until it has caught up, only peers can begin a handshake",
      );
    }),
  },
  {
    name: "claims",
    impact:
      "a key, CIDR or address belongs to the node that claimed it first; the other node's traffic there is not encrypted",
    run: withPeers(({ plan, peers }) => {
      const { refusals } = plan.ownership;
      const conflicting = peers.filter(({ state }) => state === "conflict");
      if (refusals.length === 0 && conflicting.length === 0)
        return ok("no peer claims what belongs to another node");
      return failUnlessWell(conflicting, plan)(
        `${countOf(refusals.length, "claim")} of peers ${refusals.length === 1 ? "was" : "were"} refused`,
        "let one of the two nodes give it up: `wg-cni up --pod-cidr` there, or `wg-cni peer remove` here",
        shorten(refusals.map(({ reason }) => reason)),
      );
    }),
  },
  {
    name: "plaintext",
    impact: "packets between pods of different nodes should not cross the network in plaintext",
    run: withPeers((kernel, { nowMs }) => checkPlaintext(kernel, nowMs)),
  },
  {
    name: "spoofed sources",
    impact:
      "a packet from a source that its interface does not lead to does not come from that source: it is counted for no peer",
    run: withPeers((kernel) => checkSpoofed(kernel)),
  },
  {
    name: "translated sources",
    impact: "peers take from the tunnel only packets from a node IP of this node or from its pods",
    run: withPeers((kernel) => checkSources(kernel)),
  },
];

/** Limits a check to nodes that are up and have peers. */
function withPeers(run: (kernel: KernelFacts, facts: Facts) => Finding | undefined): Check["run"] {
  return (facts) => {
    const { kernel } = facts;
    return kernel === undefined || !kernel.plan.up || kernel.peers.length === 0
      ? undefined
      : run(kernel, facts);
  };
}

/** `status` ends with exit code 3 if a peer is not well, and `doctor` says the same. */
function failUnlessWell(
  peers: readonly PeerStatus[],
  { settings }: KernelFacts["plan"],
): (...finding: Parameters<typeof warn>) => Finding {
  return peers.every((peer) => isWell(peer, settings.mode)) ? warn : fail;
}

function checkHandshakes({ plan, peers }: KernelFacts): Finding {
  const waiting = peers.filter(({ state }) => state === "waiting");
  const lost = peers.filter(({ state, txBytes }) => state === "unanswered" && txBytes > 0);
  const unused = peers.filter(({ state, txBytes }) => state === "unanswered" && txBytes === 0);
  const lines = [...lost, ...waiting].map((peer) => describeWaiting(plan.ownership.peers, peer));
  if (lines.length > 0)
    return failUnlessWell([...lost, ...waiting], plan)(
      `${countOf(lines.length, "peer")} never completed a handshake with this node`,
      handshakeRemedy(plan),
      shorten(lines),
    );
  const done = peers.filter(({ lastHandshakeMs }) => lastHandshakeMs > 0).length;
  const rest = unused.length === 0 ? "" : `; nothing was sent yet to ${countOf(unused.length, "more peer")}`;
  return ok(`${countOf(done, "peer")} completed a handshake${rest}`);
}

function describeWaiting(records: KernelFacts["plan"]["ownership"]["peers"], peer: PeerStatus): string {
  const { name, state, reach, endpoint, txBytes } = peer;
  const to = endpoint ?? records.find((record) => record.name === name)?.endpoints.join(", ") ?? "nowhere";
  if (state === "unanswered") return `${name} (${to}): ${formatBytes(txBytes)} sent, nothing came back`;
  return `${name} (${to}): the gate is closed, ${reach === "plaintext" ? "reached in plaintext" : "refused"}`;
}

function checkSilence({ plan, peers }: KernelFacts, nowMs: number): Finding {
  const silent = peers.filter(({ state }) => state === "silent");
  if (silent.length === 0) return ok("every peer with traffic answers");
  return fail(
    `${countOf(silent.length, "peer")} no longer ${silent.length === 1 ? "answers" : "answer"}`,
    handshakeRemedy(plan),
    shorten(
      silent.map(
        ({ name, endpoint, lastHandshakeMs }) =>
          `${name} (${endpoint ?? "nowhere"}): last handshake ${formatAge(lastHandshakeMs, nowMs)}`,
      ),
    ),
  );
}

/** Lists the causes of a missing handshake between two nodes, in the order in which it is best to check them. */
function handshakeRemedy({ settings: { portA, portB }, mtu }: KernelFacts["plan"]): string {
  const dev = mtu.uplinks[0]?.dev ?? "any";
  return `check that UDP ${portA} and ${portB} pass in both directions (\`tcpdump -ni ${dev} udp port ${portA} or udp port ${portB}\` on both nodes); then check the firewalls and security groups in between, the peer's endpoint, and \`wg-cni doctor\` on the peer`;
}

function checkSpoofed({ plan, hasFirewall, arrivals }: KernelFacts): Finding | undefined {
  if (!hasFirewall) return undefined;
  const some = arrivals.flatMap((one) => describeForeign(one) ?? []);
  if (some.length === 0) return ok("no packet came from a source that its interface does not lead to");
  return warn(
    `packets with spoofed or unannounced sources arrived by ${countOf(some.length, "interface")}${plan.settings.mode === "strict" ? " and were dropped" : ""}`,
    "if the interface is a pod's, find the pod (`ip route | grep INTERFACE`); else find out which host in that network sends them (`tcpdump -eni INTERFACE`), whether peers are routed by another interface than they answer by, and, if the addresses are of pods that no node announces, which node does not run wg-cni",
    shorten(some),
  );
}

function checkSources({ plan, peers, hasFirewall, refused: { sources } }: KernelFacts): Finding | undefined {
  if (!hasFirewall) return undefined;
  if (sources.size === 0) return ok("packets to other nodes have sources that these take");
  const lost = peers.flatMap((peer) => describeLoss(peer) ?? []);
  const would = plan.settings.mode === "off" ? "would be lost in the tunnel" : "are lost in the tunnel";
  return (lost.length > 0 ? fail : warn)(
    `packets to other nodes ${would}: they have the source ${listSources(sources)}`,
    "find the rule that translates their source (`nft list ruleset`, `iptables-save -t nat`), and let it leave out packets to the pods and nodes of the cluster",
    shorten(lost),
  );
}

function checkPlaintext({ plan, peers }: KernelFacts, nowMs: number): Finding | undefined {
  const counted = peers.filter(({ plaintext }) => plaintext !== undefined);
  if (counted.length === 0) return undefined;
  const { mode } = plan.settings;
  const some = counted.filter(({ plaintext }) => packetsOf(plaintext) > 0);
  if (some.length === 0) return ok("no packet of a pod went outside the tunnel");
  if (mode === "off") return ok("packets of pods go in plaintext, because the mode is off");
  // Packets that strict mode drops have not leaked; others may have before.
  const leaked = some.filter(({ plaintext }) => (plaintext?.leakedPackets ?? 0) > 0);
  const dropped = some.filter(({ plaintext }) => (plaintext?.droppedPackets ?? 0) > 0);
  const wrong = leaked.length > 0 || mode !== "strict" ? leaked : dropped;
  if (wrong.length === 0)
    return ok("packets of pods went in plaintext only while their peers could not be encrypted");
  const lines = shorten(wrong.map((peer) => describePlaintext(peer, nowMs)));
  if (leaked.length === 0)
    return warn(
      `packets outside the tunnel between pods here and ${countOf(wrong.length, "peer")} were dropped`,
      "if they arrive, run `wg-cni doctor` on the node that sends them; if they are from or to an address that is no node IP, see `node IPs`",
      lines,
    );
  return warn(
    `packets between pods here and ${countOf(wrong.length, "peer")} went in plaintext that should have been in the tunnel`,
    "the agent's log has the cause (`packets in plaintext`); if the numbers still grow, check whether the packets are for an address that is no node IP (`node IPs`, on both nodes), and what else reroutes them (NAT, `bypass rules`)",
    lines,
  );
}

function packetsOf({ inPackets, outPackets } = { inPackets: 0, outPackets: 0 }): number {
  return inPackets + outPackets;
}

function describePlaintext({ name, plaintext }: PeerStatus, nowMs: number): string {
  if (plaintext === undefined) return name;
  const { inPackets, outPackets, leakedPackets, droppedPackets, lastAtMs } = plaintext;
  const leaked = leakedPackets === 0 ? "" : `, ${leakedPackets} of them leaked`;
  const dropped = droppedPackets === 0 ? "" : `, ${droppedPackets} of them dropped`;
  const last = lastAtMs === 0 ? "" : `, the last ${formatAge(lastAtMs, nowMs)}`;
  return `${name}: ${inPackets} in, ${outPackets} out${leaked}${dropped}${last}`;
}
