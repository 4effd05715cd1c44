// Both sides of the conversation between a plugin process and the plugin server, played by a test.
import { hostMonotonicMs } from "../../../src/linux/clock.ts";
import { closeFd, openFile } from "../../../src/linux/file.ts";
import { findNetnsIdentity } from "../../../src/linux/netns.ts";
import type { Socket } from "../../../src/linux/socket.ts";
import { connectUnix, sendWithFd } from "../../../src/linux/unix-socket.ts";
import { pluginSocket } from "../../../src/net/state-dir.ts";
import {
  type Call,
  encodeCall,
  encodeReply,
  type Reply,
  ReplyReader,
} from "../../../src/wire/plugin-call.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { pluginEnv, type Verb } from "../../lab/runtime.ts";

const patienceSeconds = 20;

/** The socket of a node's server, as the test process reaches it. */
export function socketPath(node: Node): string {
  return node.outsidePath(pluginSocket(node.stateDir));
}

/** A connection to a node's real server. The test waits for its answers, so it does nothing else meanwhile. */
export class Client implements Disposable {
  readonly socket: Socket;
  readonly #replies: ReplyReader;

  constructor(private readonly node: Node) {
    this.socket = connectUnix(socketPath(node), patienceSeconds);
    const buffer = new Uint8Array(65_536);
    this.#replies = new ReplyReader(() => buffer.slice(0, this.socket.receiveStream(buffer)));
  }

  /** Undefined once the server has closed the connection. */
  next(): Reply | undefined {
    return this.#replies.next();
  }

  /** The call that a plugin process in the node would send. `change` replaces parts of it. */
  callFor(
    verb: Verb,
    conf: object,
    pod: Pick<Pod, "containerID" | "netns">,
    change: Partial<Call> = {},
  ): Call {
    return {
      env: pluginEnv(verb, pod),
      netns: findNetnsIdentity(this.node.netns) ?? "",
      ...{ elapsedMs: 0, sentAtMs: hostMonotonicMs() },
      stdin: new TextEncoder().encode(JSON.stringify(conf)),
      ...change,
    };
  }

  /** Sends a call with the pod's namespace. */
  send(call: Call, pod: Pod): void {
    const netns = openFile(this.node.outsidePath(pod.netns));
    try {
      sendWithFd(this.socket, encodeCall(call), netns);
    } finally {
      closeFd(netns);
    }
  }

  /** Returns the kinds of all replies that follow, and their texts by kind. */
  rest(): { readonly kinds: string[]; readonly texts: Record<string, string> } {
    const kinds: string[] = [];
    const texts: Record<string, string> = {};
    for (let reply = this.next(); reply !== undefined; reply = this.next()) {
      kinds.push(reply.kind);
      texts[reply.kind] = reply.text;
    }
    return { kinds, texts };
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
  }
}

/** The greeting of the built executable's server. */
export async function readBuild(node: Node): Promise<string> {
  const server = await node.servePlugin();
  using client = new Client(node);
  const hello = client.next();
  await server.stop();
  return hello?.text ?? "";
}

/** A server that greets with `hello`, and after a request does what the test says. */
export function playServer(
  node: Node,
  hello: string,
  onRequest: (bytes: Uint8Array, reply: (...replies: Reply[]) => void, close: () => void) => void,
) {
  node.must(["mkdir", "-p", "-m", "0700", node.stateDir]);
  return Bun.listen({
    unix: socketPath(node),
    socket: {
      open: (socket) => void socket.write(encodeReply({ kind: "hello", text: hello })),
      data: (socket, bytes) =>
        onRequest(
          bytes,
          (...replies) => void socket.write(Buffer.concat(replies.map(encodeReply))),
          () => socket.terminate(),
        ),
    },
  });
}
