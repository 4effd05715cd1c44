// The mesh tests observe by independent programs: `ip -j`, `wg show all dump`, `ip monitor`,
// and how they call the product on a node of the lab. Nothing here knows how
// the product does anything.
import { existsSync, readFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Lab } from "../../lab/lab.ts";
import type { Completed, Namespaces, RunOptions } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";

export const devices = ["wg-cni-a", "wg-cni-b"] as const;
export const tables = { hosts: 18098, pods: 18099 } as const;

/** Why these tests cannot run here; undefined when they can. With REQUIRE_KERNEL=1 that is an error. */
export const missing: string | undefined = whatIsMissing();
if (missing !== undefined && process.env["REQUIRE_KERNEL"] === "1")
  throw new Error(`The mesh tests cannot run: ${missing}`);
if (missing !== undefined) console.log(`skipped: the mesh tests cannot run: ${missing}`);

function whatIsMissing(): string | undefined {
  if (process.getuid?.() !== 0) return "not root";
  const tools = [
    "unshare",
    "nsenter",
    "ip",
    "tcpdump",
    "ping",
    "wg",
    "/usr/lib/cni/ptp",
    "/usr/lib/cni/bridge",
  ];
  const userspace = ["wireguard-go", "boringtun-cli", "boringtun"];
  const absent = [...tools, binary].filter((tool) => !Bun.which(tool) && !existsSync(tool));
  if (!userspace.some((name) => Bun.which(name))) absent.push(userspace.join(" or "));
  return absent.length > 0 ? `${absent.join(", ")} missing` : undefined;
}

/** 192.0.2.N, 2001:db8::N, 10.244.N.0/24, fd00:10:244:N::/64. */
export function addressing(index: number) {
  return {
    ip4: `192.0.2.${index}`,
    ip6: `2001:db8::${index}`,
    podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index}::/64`],
  };
}

/** A node called "n1" for 1, and so on. */
export function addNode(lab: Lab, index: number): Promise<Node> {
  return lab.node(`n${index}`, addressing(index));
}

/** A public key that depends on its number alone; nobody has the private one. */
export function keyOf(number: number): string {
  const bytes = new Bun.CryptoHasher("sha256").update(`key ${number}`).digest();
  // The highest bit of a public key is not set.
  bytes[31] = (bytes[31] as number) & 0x7f;
  return bytes.toString("base64");
}

/** The record of a node that exists only on paper: 198.18.x.y, 10.X.Y.0/24. */
export function paperRecord(index: number, change: Partial<NodeRecord> = {}): NodeRecord {
  const [high, low] = [index >> 8, index & 255];
  return {
    name: `paper-${index}`,
    slots: [
      { slot: "a", publicKey: keyOf(2 * index), port: 51820, state: "active" },
      { slot: "b", publicKey: keyOf(2 * index + 1), port: 51821, state: "active" },
    ],
    endpoints: [`198.18.${high}.${low}`],
    nodeIPs: [`198.18.${high}.${low}`],
    podCIDRs: [`10.${128 + high}.${low}.0/24`],
    ...change,
  };
}

/** `wg-cni ARGS --json`, which must succeed; what it printed. */
export async function wgJson<T = SyncJson>(
  node: Node,
  args: readonly string[],
  options?: RunOptions,
): Promise<T> {
  return JSON.parse((await wgMust(node, [...args, "--json"], options)).stdout) as T;
}

/**
 * The steps of `sync` beside a running agent, which finds nothing to write: but for keepalives, by which the agent asks
 * for handshakes on the slot that is not in use, when it likes.
 */
export async function stepsBesideAgent(node: Node): Promise<string[]> {
  const { steps } = await wgJson<{ steps: readonly string[] }>(node, ["sync"]);
  return steps.filter((step) => !step.includes(" persistent-keepalive "));
}

/** `wg-cni ARGS`, which must succeed; `status` ends with 3 if something is amiss and `sync` if the node is down, which the test may want to read. */
export async function wgMust(node: Node, args: readonly string[], options?: RunOptions): Promise<Completed> {
  const done = await node.wg(args, options);
  if (done.exitCode !== 0 && !(done.exitCode === 3 && ["status", "sync"].includes(args[0] ?? "")))
    throw new Error(
      `wg-cni ${args.join(" ")} on ${node.name}: ${done.exitCode} ${done.stderr}${done.stdout}`,
    );
  return done;
}

/** Imports records from standard input and returns what the sync after it did. */
export function importPeers(node: Node, records: readonly NodeRecord[]): Promise<SyncJson> {
  return wgJson(node, ["peer", "import", "-"], { stdin: JSON.stringify(records) });
}

/** The output of `sync --json` and similar commands. */
export interface SyncJson {
  readonly node: string;
  readonly steps: readonly string[];
  readonly writes: number;
  readonly failures: readonly { step: string[]; error: string }[];
  readonly refusedClaims: readonly { peer: string; claim: string; owner: string; reason: string }[];
  readonly mtu: { bytes: number; reason: string };
}

export interface DumpedPeer {
  readonly presharedKey: string;
  readonly endpoint: string;
  readonly allowedIPs: readonly string[];
  readonly handshake: number;
  readonly keepalive: string;
}

export interface DumpedDevice {
  readonly privateKey: string;
  readonly publicKey: string;
  readonly port: number;
  readonly fwmark: string;
  readonly peers: Record<string, DumpedPeer>;
}

/** `wg show all dump`, parsed; allowed IPs sorted. */
export function wgDump(space: Namespaces): Record<string, DumpedDevice> {
  const dumped: Record<string, DumpedDevice> = {};
  for (const line of space.must(["wg", "show", "all", "dump"]).split("\n")) {
    const [dev, ...f] = line.split("\t") as [string, ...string[]];
    if (f.length === 4)
      dumped[dev] = { privateKey: f[0]!, publicKey: f[1]!, port: Number(f[2]), fwmark: f[3]!, peers: {} };
    if (f.length !== 8) continue;
    const [publicKey, presharedKey, endpoint, allowed, handshake, , , keepalive] = f as [
      string,
      string,
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    const allowedIPs = allowed === "(none)" ? [] : allowed.split(",").sort();
    dumped[dev]!.peers[publicKey] = {
      presharedKey,
      endpoint,
      allowedIPs,
      handshake: Number(handshake),
      keepalive,
    };
  }
  return dumped;
}

/** Returns the part of a dump that must stay the same while nothing is changed, which excludes handshakes. */
export function settledDump(space: Namespaces): unknown {
  return JSON.parse(JSON.stringify(wgDump(space), (key, value) => (key === "handshake" ? undefined : value)));
}

/** `ip -j ARGS`, parsed. */
export function ipJson<T = Record<string, unknown>>(space: Namespaces, ...args: string[]): T[] {
  const text = space.must(["ip", "-j", ...args]).trim();
  return (text === "" ? [] : JSON.parse(text)) as T[];
}

/** The lines of `ip route show table N` of a family, trimmed and sorted; an empty table is none. */
export function routeLines(space: Namespaces, family: 4 | 6, table: number): string[] {
  const { stdout } = space.exec(["ip", `-${family}`, "-d", "route", "show", "table", `${table}`]);
  return lines(stdout);
}

/** The lines of `ip rule` of a family that are ours or point at our tables. */
export function ruleLines(space: Namespaces, family: 4 | 6): string[] {
  const all = space.must(["ip", `-${family}`, "rule"]).split("\n");
  const ours = all.filter((line) => line.includes("proto 118") || /lookup 1809[89]/.test(line));
  return ours.map((line) => line.replace(/\s+/g, " ").trim());
}

function lines(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.replace(/\s+/g, " ").trim())
    .filter((line) => line !== "")
    .sort();
}

/** All of a node's network state: links, addresses, rules, routes of all tables, sysctls. One line a fact. */
export function hostFacts(space: Namespaces): string[] {
  const settings = [
    ...["ipv4/ip_forward", "ipv4/conf/*/rp_filter", "ipv4/conf/*/src_valid_mark", "ipv4/conf/*/forwarding"],
    ...["ipv4/conf/*/proxy_arp", "ipv6/conf/*/forwarding", "ipv6/conf/*/disable_ipv6"],
  ];
  const commands = [
    // A device that is made anew has another index and, if it is a TUN, another link-local address.
    "ip -o link | sed -E 's/^[0-9]+: //'",
    // The kernel's own search for duplicates of its link-local address is not caused by us.
    "ip -o address | sed -E 's/^[0-9]+: //; /wg-cni.* fe80:/d; s/ tentative / /'",
    "ip -4 rule",
    "ip -6 rule",
    "ip -4 route show table all",
    "ip -6 route show table all | grep -vE 'fe80:.*wg-cni|wg-cni.*fe80:'",
    `cd /proc/sys/net; grep -r . ${settings.join(" ")}`,
  ];
  return lines(commands.map((command) => space.must(["sh", "-c", command])).join("\n"));
}

/** A shell line that kills the userspace process behind a device of this node, and waits until that device has gone: an agent may have made the next one by then. */
export function killBehind(dev: string): string {
  const mine = `[ "$(readlink $p/ns/net)" = "$(readlink /proc/self/ns/net)" ]`;
  const itsName = `grep -qE 'wireguard|boringtun' $p/comm && tr '\\0' ' ' <$p/cmdline | grep -q ' ${dev} '`;
  const kill = `for p in /proc/[0-9]*; do if ${itsName} && ${mine}; then kill -KILL $(basename $p); fi; done`;
  const index = `cat /sys/class/net/${dev}/ifindex 2>/dev/null || echo none`;
  return `was=$(${index}); (${kill}) 2>/dev/null; while [ "$was" != none ] && [ "$(${index})" = "$was" ]; do sleep 0.01; done`;
}

/** `hostFacts` without the mesh: our devices, tables and rules, and what a strict uplink gets. */
export function foreignFacts(space: Namespaces): string[] {
  return hostFacts(space).filter((line) => !/wg-cni-[ab]|1809[89]|proto 118/.test(line));
}

let monitors = 0;
const monitorTimeoutMs = 5_000;

/** Returns all output of `ip monitor` about links, addresses, routes and rules while `action` ran, between two markers. */
export async function monitor(node: Node, action: () => Promise<unknown>): Promise<string> {
  const file = `/run/monitor-${++monitors}`;
  const listening = node.start(["sh", "-c", `exec ip -o monitor link address route rule >${file}`]);
  const said = async (marker: string) => {
    const deadline = Date.now() + monitorTimeoutMs;
    while (Date.now() < deadline) {
      // Repeated, because the monitor does not say when it begins to listen.
      node.script(["add", "delete"].map((verb) => `ip route ${verb} throw ${marker} table 7777`));
      const text = existsSync(node.outsidePath(file)) ? readFileSync(node.outsidePath(file), "utf8") : "";
      if (text.includes(marker)) return;
      await Bun.sleep(10);
    }
    throw new Error("ip monitor is silent");
  };
  await said("203.0.113.1");
  await action();
  await said("203.0.113.2");
  await listening.stop("SIGTERM");
  const text = readFileSync(node.outsidePath(file), "utf8");
  return lines(text)
    .filter((line) => !line.includes("203.0.113."))
    .join("\n");
}
