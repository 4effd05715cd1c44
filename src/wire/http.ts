// The little of HTTP/1.1 (RFC 9112) that answering a GET takes: one request a connection, its head
// bounded, its body never read. Pure.

/** A scraper sends some hundred bytes. */
const maxHeadBytes = 8192;

export interface HttpRequest {
  readonly method: string;
  /** The path without the query. */
  readonly path: string;
}

/** "more": its head has not come whole yet; "malformed": it will not, or is none. */
export type ReadRequest = HttpRequest | "more" | "malformed";

/** Reads the part of a request that has arrived so far. */
export function readRequest(bytes: Uint8Array): ReadRequest {
  // Latin-1, as the head's octets are.
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, maxHeadBytes)).toString(
    "latin1",
  );
  if (!/\r?\n\r?\n/.test(text)) return bytes.length < maxHeadBytes ? "more" : "malformed";
  const line = text.slice(0, text.search(/\r?\n/));
  const [method = "", target = "", version = "", ...rest] = line.split(" ");
  if (!/^[A-Z]+$/.test(method) || !/^HTTP\/1\.[01]$/.test(version) || rest.length > 0) return "malformed";
  const path = target.startsWith("/") ? target.replace(/[?#].*/, "") : URL.parse(target)?.pathname;
  return path?.startsWith("/") ? { method, path } : "malformed";
}

const reasons: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** The head of an answer with a body of that length, after which the connection is closed. */
export function formatHead(status: number, contentType: string, bodyBytes: number): Uint8Array {
  const lines = [
    `HTTP/1.1 ${status} ${reasons[status] ?? ""}`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${bodyBytes}`,
    "Cache-Control: no-store",
    "Connection: close",
  ];
  return new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`);
}
