// Real traffic with a measured answer: ping and HTTP from one space to an
// address. Neither throws when nothing answers: that is a result too.

import type { Namespaces, Running } from "./namespaces.ts";

export interface PingResult {
  readonly sent: number;
  readonly received: number;
  /** Absent when nothing came back. */
  readonly averageMs?: number;
}

export interface HttpResult {
  readonly ok: boolean;
  /** The body, or what went wrong. */
  readonly text: string;
}

export interface PingOptions {
  /** 3 unless told. */
  readonly count?: number;
  /** 0.05 s unless told. */
  readonly intervalSeconds?: number;
  /** Payload bytes, 56 unless told. */
  readonly size?: number;
  /** Sets Don't Fragment (`-M do`), to measure the path's MTU. */
  readonly dontFragment?: boolean;
}

export async function ping(from: Namespaces, ip: string, options: PingOptions = {}): Promise<PingResult> {
  const count = options.count ?? 3;
  const interval = options.intervalSeconds ?? 0.05;
  const command = ["ping", "-n", "-q", "-c", `${count}`, "-i", `${interval}`, "-W", "2"];
  if (options.size !== undefined) command.push("-s", `${options.size}`);
  if (options.dontFragment) command.push("-M", "do");
  const { stdout } = await from.run([...command, ip], { timeoutMs: count * interval * 1000 + 20_000 });
  const received = Number(/(\d+) received/.exec(stdout)?.[1] ?? 0);
  const average = /= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1];
  return { sent: count, received, ...(average !== undefined && { averageMs: Number(average) }) };
}

// bash speaks enough HTTP, and every Debian has it: busybox-static's wget crashes
// on Debian 12, and curl is not part of a fresh system.
const get = `exec 3<>"/dev/tcp/$0/$1" && printf 'GET %s HTTP/1.1\\r\\nHost: pod\\r\\nConnection: close\\r\\n\\r\\n' "$2" >&3 && cat <&3`;

const httpPort = 8080;

/** GET / (Pod.serveHttp). The first try of a handshake may cost a second or more. */
export async function http(
  from: Namespaces,
  ip: string,
  timeoutSeconds = 5,
  port = httpPort,
  path = "/",
): Promise<HttpResult> {
  const done = await from.run(["timeout", `${timeoutSeconds}`, "bash", "-c", get, ip, `${port}`, path]);
  const body = /^HTTP\/1\.[01] 200 .*?\r\n\r\n(.*)$/s.exec(done.stdout)?.[1];
  if (done.exitCode === 0 && body !== undefined) return { ok: true, text: body };
  if (done.exitCode === 124) return { ok: false, text: `no answer within ${timeoutSeconds} s` };
  return { ok: false, text: done.stderr.trim() || done.stdout.trim() };
}

/** Answers every GET on the ports, of both families, with `text`; resolves when it listens. */
export async function serveHttp(
  space: Namespaces,
  text: string,
  ports: readonly number[] = [httpPort],
): Promise<Running> {
  const script = `${import.meta.dir}/server.ts`;
  const server = space.start([process.execPath, "--smol", script, text, ...ports.map(String)]);
  await server.saidOnStderr("listening");
  return server;
}
