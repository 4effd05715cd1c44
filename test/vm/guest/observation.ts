// Checks the assumptions of src/plan/peers/observation.ts about the kernel's WireGuard: how many
// bytes a handshake and a keepalive count, when a handshake has a time, how both
// change with another key, and how a send that fails counts. Two nodes
// with one device each, made by ip and wg; read by our backend.
//
//   n1 wgt0 10.9.0.1 ── 192.0.2.1 ────── 192.0.2.2 ── 10.9.0.2 wgt0 n2
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device, Peer, PeerConfig } from "../../../src/net/device.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import {
  type PeerObservations,
  type SlotObservation,
  updateObservations,
} from "../../../src/plan/peers/observation.ts";
import type { WireGuard } from "../../../src/wireguard/backend.ts";
import { openKernelWireGuard } from "../../../src/wireguard/kernel.ts";
import { addNode } from "../../kernel/support/mesh-reference.ts";
import { Lab } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";

const dev = "wgt0";
const port = 51820;
/** Longer than a test: that it is switched on sends one keepalive, and no second one follows. */
const keepaliveSeconds = 600;
const initiation = 148;
const response = 92;
const keepalive = 32;
/** An echo request of 84 bytes, padded to 96. */
const echo = 96 + keepalive;

/** One end of the tunnel. */
class End {
  readonly #wireguard: WireGuard;
  #observations: PeerObservations = new Map();
  #privateKey: string;
  publicKey: string;

  constructor(
    readonly node: Node,
    readonly address: string,
  ) {
    const opened = openKernelWireGuard(node.netns);
    if (opened === undefined) throw new Error("this kernel has no WireGuard");
    this.#wireguard = opened;
    node.script([
      `ip link add ${dev} type wireguard`,
      `ip address add ${address}/24 dev ${dev}`,
      `ip link set ${dev} up`,
    ]);
    [this.#privateKey, this.publicKey] = this.#newKey();
    this.#wireguard.configure(dev, { privateKey: this.#privateKey, listenPort: port });
  }

  /** As `key rotate` does it. */
  rekey(): void {
    [this.#privateKey, this.publicKey] = this.#newKey();
    this.#wireguard.configure(dev, { privateKey: this.#privateKey });
  }

  /** The other end becomes a peer, or is changed. */
  peer(other: End, change: Omit<PeerConfig, "publicKey"> = {}): void {
    const allowedIPs = [`${other.address}/32`];
    const endpoint = { ip: other.node.ip(4) as string, port };
    this.#wireguard.configure(dev, {
      peers: [{ publicKey: other.publicKey, endpoint, allowedIPs, ...change }],
    });
  }

  /** As the agent asks for a session where one was lost. */
  greet(publicKey: string): void {
    const peers = [0, 1, 0].map((keepaliveSeconds) => ({ publicKey, updateOnly: true, keepaliveSeconds }));
    this.#wireguard.configure(dev, { peers });
  }

  remove(publicKey: string): void {
    this.#wireguard.configure(dev, { peers: [{ publicKey, remove: true }] });
  }

  seen(publicKey: string): Peer {
    const peer = this.#read().peers.find((one) => one.publicKey === publicKey);
    if (peer === undefined) throw new Error(`${this.node.name} does not have the peer`);
    return peer;
  }

  /** One more reading, as the agent does it; what it makes of the peer. */
  look(publicKey: string): SlotObservation {
    const peer: OwnedPeer = {
      ...{ name: "other", endpoints: ["192.0.2.9"], nodeIPs: [], podCIDRs: [] },
      slots: [{ slot: "a", publicKey, port, state: "active" }],
    };
    const clocks = { nowMs: performance.now(), wallMs: Date.now() };
    this.#observations = updateObservations(this.#observations, [peer], { a: this.#read() }, {}, clocks);
    return this.#observations.get("other")?.a as SlotObservation;
  }

  ping(other: End): void {
    this.node.exec(["ping", "-q", "-c", "1", "-W", "1", other.address]);
  }

  #read(): Device {
    return this.#wireguard.read(dev) as Device;
  }

  #newKey(): [string, string] {
    const privateKey = this.node.must(["wg", "genkey"]).trim();
    return [privateKey, this.node.must(["wg", "pubkey"], { stdin: privateKey }).trim()];
  }
}

let lab: Lab;
let n1: End;
let n2: End;

beforeAll(async () => {
  lab = await Lab.create("observe");
  n1 = new End(await addNode(lab, 1), "10.9.0.1");
  n2 = new End(await addNode(lab, 2), "10.9.0.2");
});
afterAll(() => lab?.[Symbol.dispose]());

/** The counters of both ends for each other, once they are so. */
function counted(one: { rx: number; tx: number }, other: { rx: number; tx: number }): Promise<unknown> {
  const counters = () =>
    [n1.seen(n2.publicKey), n2.seen(n1.publicKey)].map(({ rxBytes: rx, txBytes: tx }) => ({ rx, tx }));
  return waitUntil(() => Bun.deepEquals(counters(), [one, other]), {
    what: () => `${JSON.stringify([one, other])}; the counters say ${JSON.stringify(counters())}`,
  });
}

/** Afterwards both have a session and counters of the handshake alone. */
async function handshake(): Promise<void> {
  n2.peer(n1);
  n1.peer(n2, { keepaliveSeconds });
  await counted({ rx: response, tx: initiation + keepalive }, { rx: initiation + keepalive, tx: response });
}

test("a keepalive that is switched on sends at once; a handshake is 148, 92 and 32 bytes, and no data", async () => {
  n2.peer(n1);
  n1.peer(n2);
  const before = [n1.look(n2.publicKey), n2.look(n1.publicKey)];
  for (const { handshakeAtMs, rxBytes, txBytes } of before)
    expect([handshakeAtMs, rxBytes, txBytes]).toEqual([undefined, 0, 0]);
  await handshake();
  for (const observation of [n1.look(n2.publicKey), n2.look(n1.publicKey)]) {
    for (const time of ["handshakeAtMs", "heardAtMs", "sentAtMs"] as const)
      expect(observation[time]).toBeGreaterThan(0);
    expect([observation.dataAtMs, observation.sentDataAtMs]).toEqual([undefined, undefined]);
  }
});

test("a keepalive in a session is 32 bytes, and no data; the smallest echo is", async () => {
  n1.peer(n2, { keepaliveSeconds: 0 });
  n1.peer(n2, { keepaliveSeconds });
  await counted(
    { rx: response, tx: initiation + 2 * keepalive },
    { rx: initiation + 2 * keepalive, tx: response },
  );
  const [one, other] = [n1.look(n2.publicKey), n2.look(n1.publicKey)];
  expect(other.heardAtMs).toBeGreaterThan(other.handshakeAtMs as number);
  expect([one.sentDataAtMs, other.dataAtMs]).toEqual([undefined, undefined]);

  n1.node.exec(["ping", "-q", "-c", "1", "-W", "5", "-s", "0", n2.address]);
  // 28 bytes, padded to 32.
  await counted(
    { rx: response + 2 * keepalive, tx: initiation + 4 * keepalive },
    { rx: initiation + 4 * keepalive, tx: response + 2 * keepalive },
  );
  for (const observation of [n1.look(n2.publicKey), n2.look(n1.publicKey)])
    expect([observation.dataAtMs, observation.sentDataAtMs]).toEqual([
      expect.any(Number),
      expect.any(Number),
    ]);
});

test("a shorter keepalive begins when the longer one is over; switched off and on in one request, at once", async () => {
  const sent = () => n1.seen(n2.publicKey).txBytes;
  const before = sent();
  n1.peer(n2, { keepaliveSeconds: 1 });
  await Bun.sleep(3000);
  expect(sent()).toBe(before);
  n1.greet(n2.publicKey);
  await waitUntil(() => sent() === before + keepalive, { what: "a keepalive is sent" });
  expect(n1.seen(n2.publicKey).keepaliveSeconds).toBe(0);
});

test("what has no route does not count as sent; what a firewall of this node drops does", async () => {
  const sent = () => n1.seen(n2.publicKey).txBytes;
  const before = sent();
  n1.node.script([`ip route add prohibit ${n2.node.ip(4)}`]);
  n1.ping(n2);
  expect(sent()).toBe(before);
  n1.node.script([
    `ip route delete prohibit ${n2.node.ip(4)}`,
    "nft add table inet block",
    "nft 'add chain inet block output { type filter hook output priority -400; }'",
    `nft add rule inet block output udp dport ${port} drop`,
  ]);
  n1.ping(n2);
  await waitUntil(() => sent() === before + echo, { what: "what is dropped counts" });
  n1.node.script(["nft delete table inet block"]);
});

test("after a new key of its own the handshake's time stays, and says nothing of it; the peer is heard on until it knows", async () => {
  const old = n1.publicKey;
  const before = n1.look(n2.publicKey);
  n1.rekey();
  expect(n1.seen(n2.publicKey).lastHandshakeMs).toBe(before.lastHandshakeMs);
  expect(n1.look(n2.publicKey).handshakeAtMs).toBeUndefined();
  // Of what is under way nothing is lost: the session still receives.
  const heard = n1.seen(n2.publicKey).rxBytes;
  n2.node.exec(["ping", "-q", "-c", "1", "-W", "1", n1.address]);
  await waitUntil(() => n1.seen(n2.publicKey).rxBytes === heard + echo, { what: "the old session receives" });
  expect(n1.look(n2.publicKey).handshakeAtMs).toBeUndefined();

  n2.peer(n1);
  n2.remove(old);
  const since = performance.now();
  await waitUntil(
    () => {
      n1.ping(n2);
      return n1.look(n2.publicKey).handshakeAtMs !== undefined;
    },
    { what: "a handshake with the new key" },
  );
  // The responder knows it with the first packet under the new keys.
  await waitUntil(() => n2.look(n1.publicKey).handshakeAtMs !== undefined, { what: "n2's handshake" });
  expect(n1.look(n2.publicKey).handshakeAtMs).toBeGreaterThan(since);
  expect(n2.look(n1.publicKey).handshakeAtMs).toBeGreaterThan(since);
});

test("a peer that is taken off and put on again counts from zero and has no handshake; then it has one", async () => {
  n1.remove(n2.publicKey);
  n1.peer(n2);
  expect(n1.seen(n2.publicKey)).toMatchObject({ rxBytes: 0, txBytes: 0, lastHandshakeMs: 0 });
  expect(n1.look(n2.publicKey).handshakeAtMs).toBeUndefined();
  n2.remove(n1.publicKey);
  await handshake();
  expect(n1.look(n2.publicKey).handshakeAtMs).toBeGreaterThan(0);
});

test("who answers a handshake has it only with the first packet of the session; who began it at once", async () => {
  n1.remove(n2.publicKey);
  n2.remove(n1.publicKey);
  // Messages of type 4 carry packets and keepalives.
  n2.node.script([
    "nft add table inet block",
    "nft 'add chain inet block input { type filter hook prerouting priority -400; }'",
    `nft add rule inet block input udp dport ${port} @th,64,8 4 drop`,
  ]);
  n2.peer(n1);
  n1.peer(n2, { keepaliveSeconds });
  await counted({ rx: response, tx: initiation + keepalive }, { rx: initiation, tx: response });
  expect(n1.look(n2.publicKey).handshakeAtMs).toBeGreaterThan(0);
  expect(n2.look(n1.publicKey).handshakeAtMs).toBeUndefined();
  n2.node.script(["nft delete table inet block"]);
  n1.ping(n2);
  expect(n2.look(n1.publicKey).handshakeAtMs).toBeGreaterThan(0);
});
