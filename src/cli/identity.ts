// Derives the node's identity from the flags of `up` and from the stored identity. A value that is
// not typed stays. Endpoints that were never typed are detected, and node IPs that were never typed
// are the endpoints.
import { readText } from "../linux/file.ts";
import { findMachine } from "../linux/machine.ts";
import { parseIp } from "../net/ip.ts";
import type { NoTransport, Transport } from "../plan/host/endpoints.ts";
import { parseNodeAddress, parseNodeName, parsePodCidr } from "../plan/records/record.ts";
import { isOfOtherMachine } from "../reconcile/other-machine.ts";
import type { Identity } from "../state/model.ts";
import { findValue, type Given, UsageError } from "./command.ts";

/** The endpoints of --endpoint. */
export interface TypedEndpoints {
  /** Undefined for "default": the endpoints are to be detected. */
  readonly ips?: readonly string[];
  /** Port of slot a, if one was typed; slot b has the next one. */
  readonly port?: number;
}

export interface TypedIdentity {
  readonly identity: Omit<Identity, "slots" | "up">;
  /** Warnings about the flags. */
  readonly warnings: readonly string[];
}

const copiedKeys =
  "the keys are those that this state had on another machine: if that one still runs, give this one its own with --new-keys";

/** Returns undefined if --endpoint was not given. Throws UsageError, ParseError. */
export function readEndpoints(given: Given): TypedEndpoints | undefined {
  const typed = given.values.get("endpoint");
  if (typed === undefined) return undefined;
  if (isDefault(typed, "--endpoint")) return {};
  const parsed = typed.map(parseEndpoint);
  const ports = new Set(parsed.flatMap(({ port }) => port ?? []));
  if (ports.size > 1) throw new UsageError("--endpoint: all endpoints of a node have the same port");
  const [port] = ports;
  return { ips: parsed.map(({ ip }) => ip), ...(port === undefined ? {} : { port }) };
}

/** `find` is called only if the endpoints are to be detected. Throws UsageError, ParseError. */
export function readIdentity(
  given: Given,
  before: Identity | undefined,
  typed: TypedEndpoints | undefined,
  find: () => Transport | NoTransport,
): TypedIdentity {
  const name =
    findValue(given, "node") ?? before?.name ?? readText("/proc/sys/kernel/hostname").trim().toLowerCase();
  const { endpoints, endpointsFound, warnings } = chooseEndpoints(given, before, typed, find);
  const podCIDRs = given.values
    .get("pod-cidr")
    ?.flatMap((list) => list.split(","))
    .map((cidr) => parsePodCidr(cidr, "--pod-cidr"));
  const machine = findMachine();
  const identity = {
    name: parseNodeName(name, "--node"),
    ...(machine === undefined ? {} : { machine }),
    ...{ endpoints, endpointsFound },
    ...chooseNodeIPs(given.values.get("node-ip"), before, endpoints),
    podCIDRs: podCIDRs ?? before?.podCIDRs ?? [],
  };
  const isCopied = before !== undefined && isOfOtherMachine(before) && keepsKeys(given, before, identity);
  return { identity, warnings: [...(isCopied ? [copiedKeys] : []), ...warnings] };
}

/** A node of another name gets other keys. */
export function keepsKeys(
  given: Given,
  before: Identity | undefined,
  { name }: Pick<Identity, "name">,
): boolean {
  return before?.name === name && !given.switches.has("new-keys");
}

const transportFlags = ["transport-interface", "transport-cidrs"];

function chooseEndpoints(
  given: Given,
  before: Identity | undefined,
  typed: TypedEndpoints | undefined,
  find: () => Transport | NoTransport,
): Pick<Identity, "endpoints" | "endpointsFound"> & { warnings: readonly string[] } {
  if (typed?.ips !== undefined)
    return { endpoints: typed.ips.map(parseIp), endpointsFound: false, warnings: [] };
  const choosing = transportFlags.filter((flag) => given.values.has(flag)).map((flag) => `--${flag}`);
  if (typed === undefined && before?.endpointsFound === false) {
    const { endpoints } = before;
    const warning = `${choosing.join(" and ")} will matter once the endpoint that was given, ${endpoints.join(", ")}, is let go of by \`wg-cni up --endpoint default\``;
    return { endpoints, endpointsFound: false, warnings: choosing.length === 0 ? [] : [warning] };
  }
  const found = find();
  if (!("problem" in found)) return { endpoints: found.endpoints, endpointsFound: true, warnings: [] };
  if (before?.endpointsFound !== true || typed !== undefined || choosing.length > 0)
    throw new UsageError(
      `no endpoint was found, the address that other nodes reach this one at: ${found.problem}. Give --endpoint IP, or choose with --transport-interface and --transport-cidrs.`,
    );
  return {
    endpoints: before.endpoints,
    endpointsFound: true,
    warnings: [`the endpoints stay as they were, ${before.endpoints.join(", ")}: ${found.problem}`],
  };
}

function chooseNodeIPs(
  typed: readonly string[] | undefined,
  before: Identity | undefined,
  endpoints: readonly string[],
): Pick<Identity, "nodeIPs" | "nodeIPsFollow"> {
  if (typed !== undefined && !isDefault(typed, "--node-ip"))
    return { nodeIPs: typed.map((ip) => parseNodeAddress(ip, "--node-ip")), nodeIPsFollow: false };
  if (typed === undefined && before?.nodeIPsFollow === false)
    return { nodeIPs: before.nodeIPs, nodeIPsFollow: false };
  return { nodeIPs: endpoints, nodeIPsFollow: true };
}

/** Throws UsageError if "default" stands beside another value. */
function isDefault(typed: readonly string[], flag: string): boolean {
  if (!typed.includes("default")) return false;
  if (typed.length > 1) throw new UsageError(`${flag}: "default" stands alone`);
  return true;
}

/** Parses "192.0.2.1", "192.0.2.1:51820", "2001:db8::1", "[2001:db8::1]:51820". */
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
