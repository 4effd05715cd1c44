// Reads the cluster's own networks and hosts from the API: the networks of the services, and the
// addresses of the API server. Every agent reads them, because no peer may claim them. Pure.

import { attempt, ParseError } from "../net/error.ts";
import { isIp, parseIp } from "../net/ip.ts";
import { parsePrefix } from "../net/prefix.ts";
import { scalarText } from "../net/scalar-text.ts";

/** Kubernetes has ServiceCIDR objects from 1.33 on. */
export const serviceCIDRsPath = "/apis/networking.k8s.io/v1/servicecidrs";
/** The EndpointSlices of the API server's own service. */
export const apiEndpointsPath = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
export const apiEndpointsQuery = { labelSelector: "kubernetes.io/service-name=kubernetes" };

/** The used parts of an object. */
export interface AddressObject {
  readonly name: string;
  readonly resourceVersion: string;
  /** Canonical prefixes or addresses. */
  readonly addresses: readonly string[];
}

/** Returns undefined if the object has no name. */
export function readServiceCIDR(json: unknown): AddressObject | undefined {
  const cidrs = asList(field(field(json, "spec"), "cidrs"));
  return addressObject(json, cidrs.flatMap(findPrefix));
}

/** Returns undefined if the object has no name. Endpoints that are not ready count, too. */
export function readEndpointSlice(json: unknown): AddressObject | undefined {
  const addresses = asList(field(json, "endpoints")).flatMap((endpoint) =>
    asList(field(endpoint, "addresses")),
  );
  return addressObject(
    json,
    addresses.flatMap((ip) => (typeof ip === "string" && isIp(ip) ? [parseIp(ip)] : [])),
  );
}

function addressObject(json: unknown, addresses: readonly string[]): AddressObject | undefined {
  const metadata = field(json, "metadata");
  const [name, resourceVersion] = [field(metadata, "name"), field(metadata, "resourceVersion")];
  if (typeof name !== "string" || name === "") return undefined;
  return { name, resourceVersion: typeof resourceVersion === "string" ? resourceVersion : "", addresses };
}

function findPrefix(cidr: unknown): string[] {
  return attempt(
    ParseError,
    () => [parsePrefix(scalarText(cidr))],
    () => [],
  );
}

function field(json: unknown, name: string): unknown {
  return typeof json === "object" && json !== null ? (json as Record<string, unknown>)[name] : undefined;
}

function asList(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json : [];
}
