// The door into a lab for the test process: listens on a loopback port of the
// machine, then moves to the network namespace of the lab and connects there. A
// socket stays in the namespace it was opened in. Says its port.
//
//   bun test/cluster/support/relay.ts NETNS PORT
import type { Socket } from "bun";
import { closeFd, openFile } from "../../../src/linux/file.ts";
import { syscall } from "../../../src/linux/syscall.ts";

const CLONE_NEWNET = 0x40000000;
const loopback = "127.0.0.1";

/** One direction of a connection: takes what comes, and keeps what the other side cannot take yet. */
class Way {
  readonly #waiting: Uint8Array[] = [];
  #to: Socket<Ways> | undefined;
  #ended = false;

  open(to: Socket<Ways>): void {
    this.#to = to;
    this.flush();
  }

  take(bytes: Uint8Array): void {
    this.#waiting.push(Uint8Array.from(bytes));
    this.flush();
  }

  end(): void {
    this.#ended = true;
    this.flush();
  }

  flush(): void {
    if (this.#to === undefined) return;
    for (let bytes = this.#waiting.shift(); bytes !== undefined; bytes = this.#waiting.shift()) {
      const written = Math.max(0, this.#to.write(bytes));
      if (written === bytes.length) continue;
      this.#waiting.unshift(bytes.subarray(written));
      return;
    }
    if (this.#ended) this.#to.end();
  }
}

/** As one socket of a connection sees them. */
interface Ways {
  readonly away: Way;
  readonly back: Way;
}

const handlers = {
  data: ({ data: { away } }: Socket<Ways>, bytes: Uint8Array) => away.take(bytes),
  drain: ({ data: { back } }: Socket<Ways>) => back.flush(),
  close: ({ data: { away } }: Socket<Ways>) => away.end(),
  error: ({ data: { away } }: Socket<Ways>) => away.end(),
};

const [netns = "", port = ""] = process.argv.slice(2);

function accept(caller: Socket<Ways>): void {
  const { away, back } = { away: new Way(), back: new Way() };
  caller.data = { away, back };
  back.open(caller);
  const data = { away: back, back: away };
  const socket = { ...handlers, open: (server: Socket<Ways>) => away.open(server) };
  Bun.connect({ hostname: loopback, port: Number(port), data, socket }).catch(() => back.end());
}

const nothing = { away: new Way(), back: new Way() };
const socket = { ...handlers, open: accept };
const listener = Bun.listen<Ways>({ hostname: loopback, port: 0, data: nothing, socket });
const fd = openFile(netns);
syscall("setns", netns, fd, CLONE_NEWNET);
closeFd(fd);
console.error(`listening on ${listener.port}.`);
