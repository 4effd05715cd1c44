// The subcommands, one row each. What a command does is loaded when it is run.

import { settingNames, showSetting } from "../plan/settings/settings.ts";
import { settingTable } from "../plan/settings/table.ts";
import type { Command, Flag } from "./command.ts";
import { settingFlag } from "./setting-flags.ts";

const settingFlags: readonly Flag[] = settingNames.map((name) => {
  const { help, value, default: fallback } = settingTable[name];
  const shown = showSetting(name, fallback as never);
  return { name: settingFlag(name), value, help: `${help} (default ${shown === "" ? "none" : shown})` };
});

const identityFlags: readonly Flag[] = [
  { name: "node", value: "NAME", help: "this node's name (default: the host's name)" },
  {
    name: "endpoint",
    value: "IP[:PORT]",
    repeated: true,
    help: "underlay address that other nodes send to, best first (default: found, see --transport-interface)",
  },
  { name: "node-ip", value: "IP", repeated: true, help: "the node's own addresses (default: the endpoints)" },
  { name: "pod-cidr", value: "CIDR", repeated: true, help: "network of this node's pods" },
  { name: "new-keys", help: "make new keys, even though the node has some" },
];

export const commands: readonly Command[] = [
  {
    name: "up",
    summary: "give this node an identity and build its side of the mesh",
    details: `What is not given stays as it was; run it again to change something. A value
of "default" sets a setting back. Without --endpoint the node goes by the
addresses of the interface that has the default route, or of the one that
--transport-interface and --transport-cidrs choose, and follows them when they
change; an --endpoint that is given stays. Node IPs that are not given are the
endpoints.`,
    flags: [...identityFlags, ...settingFlags],
    load: async () => (await import("./up.ts")).up,
  },
  {
    name: "down",
    summary: "remove all that was made on this host, and nothing else; keys and peers stay in the store",
    flags: [],
    load: async () => (await import("./down.ts")).down,
  },
  {
    name: "sync",
    summary: "bring the kernel to what the store says",
    details: `Endpoints that were found and not given become what the interface has now.`,
    flags: [],
    load: async () => (await import("./sync.ts")).sync,
  },
  {
    name: "plan",
    summary: "print what sync would do, as ip and wg commands, without doing it",
    flags: [],
    load: async () => (await import("./sync.ts")).plan,
  },
  {
    name: "status",
    summary: "show the node, its devices and every peer",
    flags: [],
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "doctor",
    summary: "check this node and its surroundings, and say what is wrong and what to do",
    details: `Changes nothing. The exit code is 0 where nothing is wrong, also where there are
warnings; 3 where something is not as it should be.`,
    flags: [],
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "probe",
    operands: "live|ready",
    summary:
      "ask this node's agent whether its loop runs (live) and whether the mesh is as it should be (ready)",
    details: `For probes of a container: the exit code is 0 for yes and 3 for no, and the
reason is printed. It goes by a socket in the state folder, not by the port of the
metrics, which another program may have.`,
    flags: [],
    maxOperands: 1,
    load: async () => (await import("./probe.ts")).probe,
  },
  {
    name: "node show",
    summary: "print this node's record, for `peer import` on the others",
    flags: [],
    load: async () => (await import("./node.ts")).nodeShow,
  },
  {
    name: "peer import",
    operands: "FILE|-",
    summary: "take one record or a list of them, all or nothing, and program them",
    maxOperands: 1,
    flags: [],
    load: async () => (await import("./peer-import.ts")).peerImport,
  },
  {
    name: "peer list",
    summary: "list the peers with what they own and what was refused to them",
    flags: [],
    load: async () => (await import("./peers.ts")).peerList,
  },
  {
    name: "peer remove",
    operands: "NAME",
    summary: "forget a peer; traffic to it is in clear again, or refused in strict mode",
    maxOperands: 1,
    flags: [],
    load: async () => (await import("./peers.ts")).peerRemove,
  },
  {
    name: "peer release",
    operands: "NAME",
    summary: "let a peer that was encrypted be reached as without us, until it shakes hands again",
    details: `Once encrypted, a peer is never reached in clear because handshakes fail. This is
the way out for a node that lost its WireGuard and must be reached all the same;
in strict mode it is refused instead.`,
    maxOperands: 1,
    flags: [],
    load: async () => (await import("./peer-release.ts")).peerRelease,
  },
  {
    name: "key show",
    summary: "print this node's public keys, their states and ages",
    flags: [],
    load: async () => (await import("./node.ts")).keyShow,
  },
  {
    name: "key rotate",
    summary: "new keys for this node: by the agent and without losing a packet, or at once",
    details: `The agent empties one slot of traffic, gives it a new key, then does the other; the
same happens by itself every --key-rotation. With --compromised both keys are
exchanged at once, by this command, and packets are lost until the other nodes
have this node's new record.`,
    flags: [{ name: "compromised", help: "a key is in wrong hands: exchange both now, whatever it costs" }],
    load: async () => (await import("./key-rotate.ts")).keyRotate,
  },
  {
    name: "agent",
    summary: "keep the mesh as the store says: run until stopped, repair what changes",
    details: `SIGTERM stops it and leaves the mesh running; SIGUSR1 switches debug lines on
and off. Under systemd it reports readiness and feeds the watchdog.

With --kubernetes no \`up\` is needed: who this node is comes from its Node object
and follows it, peers come from the API and this node's record is written to it,
as a pod of the cluster or with --kubeconfig. Settings that are given are stored
as by \`up\`.

With --leave it takes this node out of the mesh as \`down\` does, and stays, doing
nothing else: /readyz says when it is out. An agent without --leave brings it back.`,
    flags: [
      { name: "kubernetes", help: "take this node's identity from its Node object" },
      { name: "node", value: "NAME", help: "the Node's name (default: $NODE_NAME, or the host's name)" },
      { name: "leave", help: "take this node out of the mesh, and stay out for as long as this runs" },
      { name: "log-level", value: "LEVEL", help: "debug, info, warn or error (default info)" },
      { name: "log-format", value: "FORMAT", help: "text or json (default text)" },
      ...settingFlags,
    ],
    load: async () => (await import("./agent.ts")).agent,
  },
  {
    name: "rollout",
    operands: "[off|permissive|strict]",
    summary: "show the mode of the whole cluster and what is missing for the next, or change it",
    details: `For an administrator, with a kubeconfig as kubectl takes it; no node is needed. The
mode is the WireGuardMesh object's, which all agents follow. A step up is made only
where every node has reported that it would lose nothing, and is refused with the
list of what is missing (exit code 3); a step down is made at once. Nodes that have
no agent by design, as Windows and virtual ones, are left out: --selector says which are
not. Give it what the DaemonSet's nodeSelector says, where that was changed.`,
    maxOperands: 1,
    flags: [
      { name: "kubeconfig", value: "FILE", help: "kubeconfig (default: $KUBECONFIG, or ~/.kube/config)" },
      {
        name: "selector",
        value: "LABELS",
        help: "of the Nodes that have agents (default kubernetes.io/os!=windows,type!=virtual-kubelet)",
      },
    ],
    load: async () => (await import("./rollout.ts")).rollout,
  },
  {
    name: "install",
    summary: "put this executable where the runtime takes plugins from, and have its network call it",
    details: `The network is the one that the runtime uses: the first by name in --conf-dir. wg-cni
is added behind its plugins, once, and everything else in the file stays as it is.
A single plugin (.conf) becomes a list; the original waits beside it, hidden. Run
again it changes nothing, and puts back what somebody has taken out.`,
    flags: [
      { name: "bin-dir", value: "DIR", help: "the runtime's folder of plugins (default /opt/cni/bin)" },
      { name: "conf-dir", value: "DIR", help: "the runtime's folder of networks (default /etc/cni/net.d)" },
      { name: "source-binary", value: "FILE", help: "the executable to put there (default this one)" },
      {
        name: "wait",
        value: "TIME",
        help: "how long to wait for a network that can be used, or off (default 1m)",
      },
      { name: "conf-json", value: "JSON", help: 'wg-cni\'s own keys in the network, such as {"mtu": 1400}' },
      {
        name: "standalone",
        help: "write a network of our own, whose interfaces wg-cni makes itself",
      },
      { name: "keep", help: "have the agent keep it so when other components rewrite the network" },
    ],
    load: async () => (await import("./install.ts")).install,
  },
  {
    name: "uninstall",
    summary: "restore the networks as they were before wg-cni, then remove the executable",
    details: `Folders that are not given are those of \`install --keep\`, else the usual ones. What
others have changed in a network since stays; only wg-cni is taken out. The mesh
is \`wg-cni down\`'s.`,
    flags: [
      { name: "bin-dir", value: "DIR", help: "the runtime's folder of plugins" },
      { name: "conf-dir", value: "DIR", help: "the runtime's folder of networks" },
      { name: "keep-binary", help: "leave the executable, which CRI-O calls for pods that it added with it" },
    ],
    load: async () => (await import("./uninstall.ts")).uninstall,
  },
  {
    name: "version",
    summary: "print the version",
    flags: [],
    load: async () => (await import("./node.ts")).version,
  },
];
