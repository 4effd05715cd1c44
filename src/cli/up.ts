// `up`: what was typed becomes identity and settings, checked as a whole before
// the store changes; then the mesh is programmed. Run again it changes only what
// is given. Keys are made once and replaced only by --new-keys.

import { readText } from "../linux/file.ts";
import { ParseError } from "../net/error.ts";
import { parseIp } from "../net/ip.ts";
import type { Slot } from "../net/record.ts";
import { findConflicts } from "../plan/conflicts.ts";
import { slots } from "../plan/mesh.ts";
import { parseNodeAddress, parseNodeName, parsePodCidr } from "../plan/record.ts";
import {
  parseSetting,
  parseSettings,
  type SettingName,
  type Settings,
  settingNames,
} from "../plan/settings.ts";
import { observeHost } from "../reconcile/observe.ts";
import type { Session } from "../reconcile/session.ts";
import { generateKeyPair } from "../state/keys.ts";
import type { Identity, IdentitySlot, JsonValue } from "../state/model.ts";
import { readOrCreateSealKey, sealPrivateKey } from "../state/seal.ts";
import { type Context, findValue, type Given, type Output, UsageError } from "./command.ts";
import { openSession, reportSync } from "./session.ts";
import { settingFlag } from "./setting-flags.ts";

/** Settings that name what the kernel holds: changed under a running mesh, the old ones would be left behind. */
const fixedWhileUp: readonly SettingName[] = [
  "deviceA",
  "deviceB",
  "portA",
  "portB",
  "fwmark",
  "rulePriority",
  "hostTable",
  "podTable",
  "routeProtocol",
  "backend",
  "sealKeyFile",
];

export function up(context: Context): Output {
  const { given } = context;
  using session = openSession(context);
  const { store } = session;
  const before = store.identity();
  const endpoints = readEndpoints(given);
  const overrides = readOverrides(given, store.settings(), endpoints);
  const settings = parseSettings(overrides);
  if (before?.up) refuseFixed(parseSettings(store.settings()), settings);
  else refuseConflicts(session, settings, before);
  const identity = readIdentity(given, before, endpoints);
  const keys = before === undefined || given.switches.has("new-keys") ? undefined : before.slots;
  const own =
    keys !== undefined && before?.name === identity.name
      ? keys
      : makeKeys(identity.name, settings.sealKeyFile);
  store.transaction(() => {
    for (const name of settingNames) store.putSetting(name, overrides[name] as JsonValue | undefined);
    store.putIdentity({ ...identity, slots: own, up: true });
  });
  return reportSync(session.sync(), `Node ${identity.name} is up`);
}

interface Endpoints {
  readonly ips: readonly string[];
  /** Port of slot a, where one was typed; slot b has the next. */
  readonly port?: number;
}

function readEndpoints(given: Given): Endpoints | undefined {
  const typed = given.values.get("endpoint");
  if (typed === undefined) return undefined;
  const parsed = typed.map(parseEndpoint);
  const ports = new Set(parsed.flatMap(({ port }) => port ?? []));
  if (ports.size > 1) throw new UsageError("--endpoint: all endpoints of a node have the same port");
  const [port] = ports;
  return { ips: parsed.map(({ ip }) => ip), ...(port === undefined ? {} : { port }) };
}

/** "192.0.2.1", "192.0.2.1:51820", "2001:db8::1", "[2001:db8::1]:51820". */
function parseEndpoint(text: string): { ip: string; port?: number } {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[^:]+))(?::(?<port>\d+))?$/.exec(text);
  const { v6, v4, port } = match?.groups ?? {};
  const ip = parseNodeAddress(v6 ?? v4 ?? text, "--endpoint");
  if (port === undefined) return { ip };
  const number = Number(port);
  if (number < 1 || number > 65534)
    throw new UsageError(`--endpoint: ${number} is not a port from 1 to 65534 (slot b has the next)`);
  return { ip, port: number };
}

/** The settings as they will be stored: what is there, changed by what was typed. */
function readOverrides(
  given: Given,
  stored: Record<string, unknown>,
  endpoints: Endpoints | undefined,
): Record<string, unknown> {
  const overrides: Record<string, unknown> = { ...stored };
  if (endpoints?.port !== undefined) {
    overrides["portA"] = endpoints.port;
    overrides["portB"] = endpoints.port + 1;
  }
  for (const name of settingNames) {
    const text = findValue(given, settingFlag(name));
    if (text === undefined) continue;
    if (text === "default") delete overrides[name];
    else overrides[name] = attempt(`--${settingFlag(name)}`, () => parseSetting(name, text));
  }
  return overrides;
}

function attempt<T>(flag: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ParseError) throw new UsageError(`${flag}: ${error.message}`);
    throw error;
  }
}

function readIdentity(
  given: Given,
  before: Identity | undefined,
  endpoints: Endpoints | undefined,
): Omit<Identity, "slots" | "up"> {
  const name =
    findValue(given, "node") ?? before?.name ?? readText("/proc/sys/kernel/hostname").trim().toLowerCase();
  const ips = endpoints?.ips ?? before?.endpoints ?? [];
  if (ips.length === 0)
    throw new UsageError("up needs --endpoint IP: the address that other nodes reach this one at");
  const nodeIPs = given.values.get("node-ip")?.map((ip) => parseNodeAddress(ip, "--node-ip"));
  const podCIDRs = given.values
    .get("pod-cidr")
    ?.flatMap((list) => list.split(","))
    .map((cidr) => parsePodCidr(cidr, "--pod-cidr"));
  return {
    name: parseNodeName(name, "--node"),
    endpoints: ips.map(parseIp),
    nodeIPs: nodeIPs ?? before?.nodeIPs ?? ips,
    podCIDRs: podCIDRs ?? before?.podCIDRs ?? [],
  };
}

function refuseFixed(now: Settings, next: Settings): void {
  const changed = fixedWhileUp.filter((name) => JSON.stringify(now[name]) !== JSON.stringify(next[name]));
  if (changed.length === 0) return;
  const flags = changed.map((name) => `--${settingFlag(name)}`).join(", ");
  throw new UsageError(`${flags} cannot change while the node is up: run \`wg-cni down\` first`);
}

function refuseConflicts({ kernel }: Session, settings: Settings, before: Identity | undefined): void {
  const ownKeys = before?.slots.map(({ publicKey }) => publicKey) ?? [];
  const conflicts = findConflicts(settings, observeHost(settings, kernel, ownKeys));
  if (conflicts.length > 0)
    throw new UsageError(
      `this host already has what we would use, so nothing was changed:\n  ${conflicts.join("\n  ")}`,
    );
}

function makeKeys(node: string, sealKeyFile: string): IdentitySlot[] {
  const sealKey = readOrCreateSealKey(sealKeyFile);
  return slots.map((slot: Slot) => {
    const { privateKey, publicKey } = generateKeyPair();
    return {
      slot,
      publicKey,
      sealedPrivateKey: sealPrivateKey(sealKey, { node, slot }, privateKey),
      state: "active",
    };
  });
}
