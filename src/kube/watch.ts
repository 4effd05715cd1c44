// Reads the answers to a list and a watch of the API, and decides what to do if one fails.
// The protocol is https://kubernetes.io/docs/reference/using-api/api-concepts. Pure.
//
//   failed with                            then
//   ─────────────────────────────────────  ──────────────────────────────────────
//   the connection, 429, 5xx               the watch continues from its version
//   401, 403                               the same, twice; then all is listed again
//   410, anything else                     everything is listed again
import { KubeError } from "./error.ts";

export interface WatchEvent {
  /** Absent for a bookmark. */
  readonly change?: "put" | "deleted";
  readonly object: unknown;
  readonly resourceVersion: string;
}

export interface ListPage {
  readonly items: readonly unknown[];
  readonly resourceVersion: string;
  /** Token of the next page; "" at the last one. */
  readonly next: string;
}

/** Throws KubeError if the answer is not a list. */
export function readListPage(json: unknown): ListPage {
  const { items, metadata } = asObject(json);
  const { resourceVersion, continue: next } = asObject(metadata);
  if (typeof resourceVersion !== "string" || (items !== null && !Array.isArray(items)))
    throw new KubeError("The API server answered a list with something that is none.");
  return { items: items ?? [], resourceVersion, next: typeof next === "string" ? next : "" };
}

/** Reads one line of a watch. Throws KubeError for an ERROR event and for a line that is not an event. */
export function readWatchLine(line: string): WatchEvent {
  const { type, object } = asObject(parseJson(line));
  if (type === "ERROR") throw statusError(object, "The API server ended the watch");
  const resourceVersion = asObject(asObject(object)["metadata"])["resourceVersion"];
  if (typeof resourceVersion !== "string") throw notAnEvent(line);
  if (type === "BOOKMARK") return { object, resourceVersion };
  if (type === "ADDED" || type === "MODIFIED") return { change: "put", object, resourceVersion };
  if (type === "DELETED") return { change: "deleted", object, resourceVersion };
  throw notAnEvent(line);
}

/** Makes an error from a Status object (https://kubernetes.io/docs/reference/using-api/api-concepts, "Status"). */
export function statusError(
  json: unknown,
  what: string,
  failure: { status?: number; retryAfterMs?: number } = {},
): KubeError {
  const { code, reason, message, details } = asObject(json);
  const causes = asObject(details)["causes"];
  const isTooLarge =
    Array.isArray(causes) && causes.some((cause) => asObject(cause)["reason"] === "ResourceVersionTooLarge");
  const status = failure.status ?? (typeof code === "number" ? code : undefined);
  const text = typeof message === "string" && message !== "" ? `: ${shorten(message)}` : "";
  const said = status === undefined ? text : ` (${status})${text}`;
  return new KubeError(`${what}${said}`, {
    ...(status === undefined ? {} : { status }),
    reason: isTooLarge ? "ResourceVersionTooLarge" : typeof reason === "string" ? reason : "",
    ...(failure.retryAfterMs === undefined ? {} : { retryAfterMs: failure.retryAfterMs }),
  });
}

/** True if a watch cannot continue from its version. `failures`: number of consecutive failures, with this one. */
export function mustListAgain({ failure: { status, reason } }: KubeError, failures: number): boolean {
  if (reason === "Expired" || reason === "Gone" || reason === "ResourceVersionTooLarge") return true;
  // A busy server must not get the additional load of a list.
  if (status === undefined || status === 429 || status >= 500) return false;
  // Refused credentials do not mean that the version has expired.
  return (status !== 401 && status !== 403) || failures >= 3;
}

/** Retry-After (RFC 9110, 10.2.3) in milliseconds, as seconds or as a date; bounded, since a clock may be wrong. */
export function parseRetryAfter(text: string | null, wallMs: number): number | undefined {
  if (text === null || text === "") return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - wallMs;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), longestRetryAfterMs) : undefined;
}

const longestRetryAfterMs = 600_000;

function notAnEvent(line: string): KubeError {
  return new KubeError(
    `The API server sent a line in a watch that is no event: ${shorten(JSON.stringify(line))}`,
    {
      status: 200,
    },
  );
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw notAnEvent(line);
  }
}

/** Shortens a server's or webhook's message to one line for the log. */
function shorten(text: string): string {
  const line = text.replace(/[\p{C}\s]+/gu, " ");
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
}

function asObject(json: unknown): Record<string, unknown> {
  return typeof json === "object" && json !== null && !Array.isArray(json)
    ? (json as Record<string, unknown>)
    : {};
}
