// Tries the paths of a table, several at a time, while a capture of the wire shows what
// an eavesdropper between the nodes could read of them.

import type { Capture } from "../../lab/capture.ts";
import type { Packet } from "../../lab/pcap.ts";
import { type HttpResult, http } from "../../lab/traffic.ts";
import type { Machine } from "./machine.ts";
import type { Path, Protocol } from "./paths.ts";
import { question } from "./pods.ts";

export interface Tried {
  readonly path: Path;
  /** The web server's answer, or why there was none. */
  readonly text: string;
  /** True if the right server answered. */
  readonly ok: boolean;
  /** "ask n1-n2": what was readable between which nodes. */
  readonly read: readonly string[];
}

const atOnce = 6;
const timeoutSeconds = 5;
let tries = 0;

const ask: Readonly<Record<Protocol, (path: Path, token: string) => Promise<HttpResult>>> = {
  tcp: ({ from, ip, port }, token) => http(from, ip, timeoutSeconds, port, question(token)),
  udp: async ({ from, ip, port }, token) => {
    // dd reads a datagram whole; bash itself would byte by byte.
    const script = 'exec 3<>/dev/udp/$0/$1; echo "ask-$2" >&3; dd bs=2048 count=1 <&3 2>/dev/null';
    const command = ["timeout", `${timeoutSeconds}`, "bash", "-c", script, ip, `${port}`, token];
    const { exitCode, stdout, stderr } = await from.run(command);
    return { ok: exitCode === 0, text: stdout + stderr };
  },
};

export async function tryPaths(
  paths: readonly Path[],
  machines: readonly Machine[],
  capture: Capture,
): Promise<Tried[]> {
  const queue = [...paths];
  const answers: { path: Path; token: string; text: string; ok: boolean }[] = [];
  const work = async () => {
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      // No token begins another one.
      const token = `token-${String(++tries).padStart(6, "0")}`;
      const { ok, text } = await ask[path.protocol](path, token);
      answers.push({ path, token, text, ok: ok && text.startsWith(`answer-${token} ${path.answers} `) });
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const seen = readings(await capture.packets(), machines);
  return answers.map(({ token, ...answer }) => ({
    ...answer,
    read: [...(seen.get(token) ?? [])].toSorted(),
  }));
}

/** Token -> what was readable of it. */
function readings(packets: readonly Packet[], machines: readonly Machine[]): Map<string, Set<string>> {
  const seen = new Map<string, Set<string>>();
  for (const { bytes, source = "", destination = "" } of packets) {
    const nodes = [nodeOf(source, machines), nodeOf(destination, machines)];
    if (nodes.includes(undefined)) continue;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    for (const [, kind = "", token = ""] of text.matchAll(/(ask|answer)-(token-\d{6})/g)) {
      const found = seen.get(token) ?? new Set();
      seen.set(token, found.add(`${kind} ${nodes.toSorted().join("-")}`));
    }
  }
  return seen;
}

/** The node that has an address, or whose pod has. */
function nodeOf(address: string, machines: readonly Machine[]): string | undefined {
  return machines.find(({ ip, podCidr }) => address === ip || address.startsWith(podCidr.replace("0/24", "")))
    ?.name;
}

/** Path -> what is wrong with it; empty when all is as it should be. `isEncrypted` is whether anything has to be. */
export function faults(tried: readonly Tried[], isEncrypted: boolean): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { path, ok, text, read } of tried) {
    const wrong = isEncrypted
      ? read.filter((one) => !path.mayBeRead.includes(one.split(" ")[1] as string))
      : [];
    if (!ok) found[path.name] = text || "no answer";
    else if (wrong.length > 0) found[path.name] = `readable: ${wrong.join(", ")}`;
  }
  return found;
}
