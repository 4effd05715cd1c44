// The table of subcommands. The implementation of a command is loaded when it runs.

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
    help: "underlay address that other nodes send to, best first (default: detected, see --transport-interface)",
  },
  { name: "node-ip", value: "IP", repeated: true, help: "the node's own addresses (default: the endpoints)" },
  { name: "pod-cidr", value: "CIDR", repeated: true, help: "network of this node's pods" },
  { name: "new-keys", help: "create new keys even if the node has keys" },
];

export const commands: readonly Command[] = [
  {
    name: "up",
    summary: "give this node an identity and build its side of the mesh",
    details: `Run it again to change a setting; settings that are not given stay as they are, and
the value "default" restores the default. Without --endpoint the node uses the
addresses of the interface that has the default route, or of the interface that
--transport-interface and --transport-cidrs select, and follows them when they
change. An --endpoint that is given stays. Without --node-ip the node IPs are the
endpoints.`,
    flags: [...identityFlags, ...settingFlags],
    load: async () => (await import("./up.ts")).up,
  },
  {
    name: "down",
    summary: "remove everything that wg-cni made on this host; keys and peers stay in the store",
    flags: [],
    load: async () => (await import("./down.ts")).down,
  },
  {
    name: "sync",
    summary: "bring the kernel to the state that the store describes",
    details: `Endpoints that were detected, not given, are updated to the current addresses of
the interface. The exit code is 3 if the node is down, so that nothing is encrypted.`,
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
    details: `PATH is where the kernel sends packets for a peer's pods now, INTENT where they should
go. The exit code is 3 if they differ, if changes are pending, if a peer is silent, does
not answer or is reached in plaintext (but in mode off), or if the agent is missing,
does not answer or is not ready. \`doctor\` fails for each of these reasons too.`,
    flags: [],
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "doctor",
    summary: "check this node and its network, report faults and their remedies",
    details: `It changes nothing without --repair. The exit code is 0 if no check failed, even if
there are warnings, and 3 if a check failed. It fails for every reason for which
\`status\` ends with 3. Only \`doctor\` looks at the disk, the files of the store and the seal key, other
programs' rules and tables, the reverse-path filter and the links of pods.`,
    flags: [
      {
        name: "repair",
        help: "first rebuild a damaged store, and say what was lost; no agent may run",
      },
    ],
    load: async () => (await import("./doctor.ts")).doctor,
  },
  {
    name: "plugin-server",
    summary: "do the calls of plugin processes; the agent starts this for itself",
    details: `It ends when its standard input does.`,
    flags: [],
    load: async () => (await import("./plugin-server.ts")).pluginServer,
  },
  {
    name: "probe",
    operands: "live|ready",
    summary:
      "ask this node's agent whether its loop runs (live), or whether the mesh is in the desired state (ready)",
    details: `For probes of a container: the exit code is 0 for yes and 3 for no, and the
reason is printed. The command uses a socket in the state directory, not the port of
the metrics, which another program may hold.`,
    flags: [],
    maxOperands: 1,
    load: async () => (await import("./probe.ts")).probe,
  },
  {
    name: "userspace",
    summary: "start the userspace WireGuard of this node's devices whenever one is missing",
    details: `For a node without WireGuard in its kernel whose agent runs in a container and cannot
start it. The command runs until it is stopped, as a service of the node, and waits for
the node to be up; the agent configures the devices. It ends when its executable is
removed or replaced, so that the service starts the new one.`,
    flags: [],
    load: async () => (await import("./userspace.ts")).userspace,
  },
  {
    name: "node show",
    summary: "print this node's record, for `peer import` on other nodes",
    flags: [],
    load: async () => (await import("./node.ts")).nodeShow,
  },
  {
    name: "peer import",
    operands: "FILE|-",
    summary: "import one record or a list of records, all or none, and program the peers",
    maxOperands: 1,
    flags: [],
    load: async () => (await import("./peer-import.ts")).peerImport,
  },
  {
    name: "peer list",
    summary: "list the peers, their accepted addresses and their rejected claims",
    flags: [],
    load: async () => (await import("./peers.ts")).peerList,
  },
  {
    name: "peer remove",
    operands: "NAME",
    summary: "forget a peer; traffic to it is in plaintext again, or rejected in strict mode",
    maxOperands: 1,
    flags: [],
    load: async () => (await import("./peers.ts")).peerRemove,
  },
  {
    name: "peer release",
    operands: "NAME",
    summary: "send traffic to an encrypted peer in plaintext again, until its next handshake",
    details: `Once traffic to a peer is encrypted, failing handshakes never return it to plaintext.
Use this command for a node that lost its WireGuard and must stay reachable. In
strict mode the traffic is rejected instead.`,
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
    summary: "replace this node's keys: by the agent without packet loss, or at once",
    details: `The agent drains one slot, gives it a new key, then does the same with the other
slot. It also does so by itself every --key-rotation. With --compromised this command
replaces both keys at once, and packets are lost until the other nodes have this
node's new record.`,
    flags: [{ name: "compromised", help: "replace both keys now, with packet loss, because a key leaked" }],
    load: async () => (await import("./key-rotate.ts")).keyRotate,
  },
  {
    name: "agent",
    summary: "run until stopped, and keep the kernel in the state that the store describes",
    details: `SIGTERM stops the agent and leaves the mesh running; SIGUSR1 switches debug lines on
and off. Under systemd the agent reports readiness and feeds the watchdog.

With --kubernetes no \`up\` is needed: the agent takes this node's identity from its
Node object and follows it, reads the peers from the API and writes this node's
record to it, as a pod of the cluster or with --kubeconfig. Settings that are given
are stored, as \`up\` does.

With --leave the agent takes this node out of the mesh, as \`down\` does, and then does
nothing else: /readyz reports when the node has left. An agent without --leave brings
the node back.`,
    flags: [
      { name: "kubernetes", help: "take this node's identity from its Node object" },
      { name: "node", value: "NAME", help: "the Node's name (default: $NODE_NAME, or the host's name)" },
      { name: "leave", help: "take this node out of the mesh for as long as this agent runs" },
      { name: "log-level", value: "LEVEL", help: "debug, info, warn or error (default info)" },
      { name: "log-format", value: "FORMAT", help: "text or json (default text)" },
      ...settingFlags,
    ],
    load: async () => (await import("./agent.ts")).agent,
  },
  {
    name: "rollout",
    operands: "[off|permissive|strict]",
    summary: "show the mode of the cluster and what the next mode still needs, or change the mode",
    details: `For an administrator, with a kubeconfig as kubectl uses it; it does not have to run on
a node. The command sets the mode of the WireGuardMesh object, which all agents follow.
It makes a step up only if every node reported that it would lose no packet; otherwise
it rejects the step, lists what is missing and exits with code 3. It makes a step down
at once. Nodes without an agent by design, such as Windows and virtual nodes, do not
count: --selector selects the Nodes that do. If you changed the DaemonSet's
nodeSelector, give --selector the same labels.`,
    maxOperands: 1,
    flags: [
      { name: "kubeconfig", value: "FILE", help: "kubeconfig (default: $KUBECONFIG, or ~/.kube/config)" },
      {
        name: "selector",
        value: "LABELS",
        help: "labels of the Nodes that have agents (default kubernetes.io/os!=windows,type!=virtual-kubelet)",
      },
    ],
    load: async () => (await import("./rollout.ts")).rollout,
  },
  {
    name: "install",
    summary: "install this executable as a plugin, and add it to the runtime's network configuration",
    details: `The runtime uses the first network configuration by name in --conf-dir. This command
appends wg-cni to its plugins, once, and leaves the rest of the file as it is. It turns
a single plugin (.conf) into a list and keeps the original beside it as a hidden file.
If you run it again, it changes nothing, or restores an entry that was removed.`,
    flags: [
      { name: "bin-dir", value: "DIR", help: "the runtime's directory of plugins (default /opt/cni/bin)" },
      {
        name: "conf-dir",
        value: "DIR",
        help: "the runtime's directory of network configurations (default /etc/cni/net.d)",
      },
      { name: "source-binary", value: "FILE", help: "the executable to install (default this one)" },
      {
        name: "wait",
        value: "TIME",
        help: "how long to wait for a usable network configuration, or off (default 1m)",
      },
      {
        name: "conf-json",
        value: "JSON",
        help: 'wg-cni\'s own keys in the network configuration, such as {"mtu": 1400}',
      },
      {
        name: "standalone",
        help: "write a network configuration in which wg-cni is the main plugin and makes the interfaces",
      },
      {
        name: "keep",
        help: "let the agent restore the entry when other components rewrite the network configuration",
      },
    ],
    load: async () => (await import("./install.ts")).install,
  },
  {
    name: "uninstall",
    summary: "restore the network configurations as they were before wg-cni, then remove the executable",
    details: `The directories default to those of \`install --keep\`, otherwise to the usual ones.
Changes that other programs made to a network configuration stay; only wg-cni is
removed. The mesh stays, too: \`wg-cni down\` removes it.`,
    flags: [
      { name: "bin-dir", value: "DIR", help: "the runtime's directory of plugins" },
      { name: "conf-dir", value: "DIR", help: "the runtime's directory of network configurations" },
      {
        name: "keep-binary",
        help: "leave the executable, which CRI-O calls for the pods that it added with it",
      },
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
