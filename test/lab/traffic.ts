// Real traffic with a measured answer: ping and HTTP from one space to an
// address. Neither throws when nothing answers: that is a result too.

import type { Namespaces, Running } from "./namespaces.ts";

export interface PingResult {
  readonly sent: number;
  readonly received: number;
  /** Absent when nothing came back. */
  readonly averageMs?: number;
  /** What ping said of each request and answer, unless all were answered. */
  readonly said?: string;
}

export interface HttpResult {
  readonly ok: boolean;
  /** The body, or what went wrong. */
  readonly text: string;
}

export interface PingOptions {
  /** 3 unless told. */
  readonly count?: number;
  /** Payload bytes, 56 unless told. */
  readonly size?: number;
  /** Sets Don't Fragment (`-M do`), to measure the path's MTU. */
  readonly dontFragment?: boolean;
  /** The sender's address; the kernel's choice unless told. */
  readonly source?: string;
  /** How long to wait for a first answer; 2 s unless told. */
  readonly timeoutSeconds?: number;
}

/** How long ping waits for the other answers once it has one. */
const lateSeconds = 10;

/**
 * Sends all requests at once. ping(8) obeys -W only as long as it has no answer: after the first one it waits
 * for the others no longer than its interval, or twice the longest time so far. With requests in intervals of
 * 50 ms it calls an answer lost that a busy machine delays by 60 ms. So the interval is how long it waits.
 */
export async function ping(from: Namespaces, ip: string, options: PingOptions = {}): Promise<PingResult> {
  const { count = 3, timeoutSeconds = 2 } = options;
  const command = ["ping", "-n", "-D", "-c", `${count}`, "-l", `${count}`];
  command.push("-i", `${lateSeconds}`, "-W", `${timeoutSeconds}`);
  if (options.size !== undefined) command.push("-s", `${options.size}`);
  if (options.dontFragment) command.push("-M", "do");
  if (options.source !== undefined) command.push("-I", options.source);
  const { stdout, stderr } = await from.run([...command, ip], {
    timeoutMs: (lateSeconds + timeoutSeconds) * 1000 + 20_000,
  });
  const received = Number(/(\d+) received/.exec(stdout)?.[1] ?? 0);
  const average = /= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1];
  return {
    sent: count,
    received,
    ...(average !== undefined && { averageMs: Number(average) }),
    ...(received !== count && { said: `${stdout}${stderr}` }),
  };
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
