// docs/reference/cni-configuration.md: the keys of the network configuration. The
// plugin warns about keys that are not in its lists; a key of these lists without
// a row here does not compile.
import { maxMtu, minMtu } from "../../src/cni/config.ts";
import type { capabilityKeys, ipamKeys, rangeKeys, routeKeys, topKeys } from "../../src/cni/unknown-keys.ts";
import { supportedVersions } from "../../src/net/cni-version.ts";
import { defaultStateDir } from "../../src/net/state-dir.ts";
import { describeEnvironment } from "./environment.ts";
import { code, page, table } from "./markdown.ts";

interface Key {
  readonly type: string;
  readonly default: string;
  readonly meaning: string;
}

const top: Readonly<Record<(typeof topKeys)[number], Key>> = {
  cniVersion: {
    type: "string",
    default: "`0.1.0`",
    meaning: `Version of the CNI specification, which a list gives to its plugins. One of ${supportedVersions.join(", ")}.`,
  },
  name: {
    type: "string",
    default: "required",
    meaning: "Name of the network: letters, digits, `_`, `.` and `-`. A list gives it to its plugins.",
  },
  type: {
    type: "string",
    default: "`wg-cni`",
    meaning: "Name of the plugin, by which the runtime finds it.",
  },
  stateDir: {
    type: "absolute path",
    default: code(defaultStateDir),
    meaning: "Directory of the state store. Give the same directory to the agent, with `--state-dir`.",
  },
  mtu: {
    type: `integer from ${minMtu} to ${maxMtu}, or 0`,
    default: "0: the tunnel's",
    meaning:
      "MTU of the pod's routes if wg-cni is chained, or of its interface if wg-cni makes it. It does not follow the tunnel's MTU later.",
  },
  ipam: {
    type: "object",
    default: "none",
    meaning:
      "Makes wg-cni the main plugin, which makes the interface. Without it wg-cni is chained. See below.",
  },
  dns: {
    type: "object",
    default: "none",
    meaning: "`nameservers`, `domain`, `search` and `options`, which are passed into the result.",
  },
  ipMasq: {
    type: "boolean",
    default: "`false`",
    meaning: "`true` is refused with code 2, because wg-cni does not masquerade.",
  },
  args: {
    type: "object",
    default: "none",
    meaning: "`args.cni.ips` and `args.cni.mac` ask for addresses of this pod, after `runtimeConfig`.",
  },
  capabilities: {
    type: "object",
    default: "none",
    meaning: "What the runtime may pass in `runtimeConfig`. See below.",
  },
  runtimeConfig: {
    type: "object",
    default: "none",
    meaning: "What the runtime passes for this pod. The runtime writes it; leave it out.",
  },
  prevResult: {
    type: "object",
    default: "none",
    meaning: "Result of the plugin before wg-cni. The runtime writes it; leave it out.",
  },
  disableCheck: { type: "boolean", default: "`false`", meaning: "For the runtime: it calls no CHECK." },
  disableGC: { type: "boolean", default: "`false`", meaning: "For the runtime: it calls no GC." },
  loadOnlyInlinedPlugins: {
    type: "boolean",
    default: "`false`",
    meaning: "For the runtime: it reads no plugins from a directory beside the list.",
  },
};

const ipam: Readonly<Record<(typeof ipamKeys)[number], Key>> = {
  type: {
    type: "string",
    default: "`wg-cni`",
    meaning:
      "Which plugin gives the addresses. Another name than `wg-cni` is the file name of an IPAM plugin in CNI_PATH, and the other keys of `ipam` are that plugin's.",
  },
  ranges: {
    type: "list of lists of ranges",
    default: "the node's pod CIDRs",
    meaning: "Range sets, as host-local has them. A pod gets one address of each set.",
  },
  routes: {
    type: "list of routes",
    default: "none",
    meaning: "Further routes of the pod, beside the default route that each family with an address gets.",
  },
};

const range: Readonly<Record<(typeof rangeKeys)[number], Key>> = {
  subnet: { type: "CIDR", default: "required", meaning: "The network that the addresses are of." },
  rangeStart: { type: "address", default: "the subnet's first", meaning: "First address to give to pods." },
  rangeEnd: { type: "address", default: "the subnet's last", meaning: "Last address to give to pods." },
  gateway: {
    type: "address",
    default: "the subnet's first",
    meaning: "An address that is never given to a pod.",
  },
};

const route: Readonly<Record<(typeof routeKeys)[number], Key>> = {
  dst: { type: "CIDR", default: "required", meaning: "Destination." },
  gw: {
    type: "address",
    default: "none",
    meaning: "Ignored, since every way out of the pod is through the node.",
  },
};

const capability: Readonly<Record<(typeof capabilityKeys)[number], Key>> = {
  ips: {
    type: "boolean",
    default: "`false`",
    meaning: "The runtime may ask for addresses with `runtimeConfig.ips`, with or without a prefix length.",
  },
  mac: {
    type: "boolean",
    default: "`false`",
    meaning: "The runtime may ask for a MAC address with `runtimeConfig.mac`.",
  },
};

const examples = table(
  ["Entry", "wg-cni"],
  [
    [code('{"type": "wg-cni"}'), "is chained after the plugin that makes the interfaces"],
    [code('{"type": "wg-cni", "ipam": {}}'), "is the main plugin; addresses are from the node's pod CIDRs"],
    [
      code('{"type": "wg-cni", "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}]]}}'),
      "is the main plugin; addresses are from ranges",
    ],
    [
      code('{"type": "wg-cni", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}}'),
      "is the main plugin; addresses are from another IPAM plugin",
    ],
  ],
);

export function cniPage(root: string): string {
  return page(
    "# CNI configuration",
    `The network configuration that the runtime passes to the plugin. \`{"type": "wg-cni"}\`, chained after
another plugin, is complete. An unknown key is tolerated, since runtimes add their own, and ADD names it in
a warning together with the nearest known key; a key with a slash in it is never warned about. A wrong value
is error 7 on ADD and CHECK ([errors.md](errors.md)), and a warning on DEL and GC, which must clean up what
an older configuration made.`,
    `Warnings and failures also go to \`plugin.log\` in the state directory, one line each, because runtimes keep
a plugin's standard error only sometimes. The file is bounded at 1 MiB, with one older file.`,
    "## Examples",
    examples,
    "## Keys",
    keyTable(top),
    "## `ipam`",
    keyTable(ipam, "ipam."),
    `A range and a route have these keys:`,
    keyTable({ ...prefixed("ranges[][].", range), ...prefixed("routes[].", route) }, "ipam."),
    "## `capabilities`",
    keyTable(capability, "capabilities."),
    "Without the capabilities, `IP=` and `MAC=` in CNI_ARGS are honoured too.",
    "## Keys that the runtime adds for GC",
    `\`cni.dev/valid-attachments\`, or \`cni.dev/attachments\`, is the list of attachments that GC must keep,
each with \`containerID\` and \`ifname\`. Without a list GC deletes nothing.`,
    "## Environment",
    table(["Variable", "Meaning"], describeEnvironment(root, "cni")),
  );
}

function keyTable(keys: Readonly<Record<string, Key>>, prefix = ""): string {
  const rows = Object.entries(keys).map(([key, { type, default: fallback, meaning }]) => [
    code(`${prefix}${key}`),
    type,
    fallback,
    meaning,
  ]);
  return table(["Key", "Type", "Default", "Meaning"], rows);
}

function prefixed(prefix: string, keys: Readonly<Record<string, Key>>): Record<string, Key> {
  return Object.fromEntries(Object.entries(keys).map(([key, row]) => [`${prefix}${key}`, row]));
}
