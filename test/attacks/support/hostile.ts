// The hostile node of the mesh. Its devices send what the attacker likes to one node at a time, and take whatever
// comes from there. Its agent takes part in the mesh, but is stopped while nothing of it is needed.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import { ipJson, wgDump } from "../../kernel/support/mesh-reference.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { LinkSender } from "./sockets.ts";

const slots = ["a", "b"] as const;
export type Slot = (typeof slots)[number];
/** A userspace WireGuard looks up the peer of a packet a moment after it was sent. */
const sentMs = 20;

export class Hostile implements Disposable {
  readonly #senders: Readonly<Record<Slot, LinkSender>>;
  readonly #aims = new Map<Slot, Node>();

  constructor(
    readonly node: Node,
    private readonly agent: Agent,
    private readonly recordsDir: string,
  ) {
    const sender = (slot: Slot) =>
      new LinkSender(
        node.netns,
        ipJson(node, "link", "show", "dev", `wg-cni-${slot}`)[0]?.["ifindex"] as number,
        undefined,
      );
    this.#senders = { a: sender("a"), b: sender("b") };
    agent.freeze();
  }

  /** Sends a packet to the node, whatever its destination is. */
  send(packet: Uint8Array, slot: Slot, to: Node): void {
    if (this.#aims.get(slot) !== to) this.#aim(slot, to);
    if (this.#aims.get(slot) === to) this.#senders[slot].send(packet);
  }

  /** The node's keys may have changed, or the agent of this one has repaired what was aimed. */
  forgetAims(): void {
    this.#aims.clear();
  }

  /** The agent goes on until `act` has ended: its peers' keys change. */
  async withAgent(act: () => Promise<unknown>): Promise<void> {
    this.agent.thaw();
    try {
      await act();
    } finally {
      this.agent.freeze();
    }
  }

  record(name = this.node.name): NodeRecord {
    return JSON.parse(readFileSync(this.#file(name), "utf8")) as NodeRecord;
  }

  /** Puts a text in the place of this node's record. */
  publish(text: string): void {
    writeFileSync(`${this.recordsDir}/.hostile`, text);
    renameSync(`${this.recordsDir}/.hostile`, this.#file(this.node.name));
  }

  [Symbol.dispose](): void {
    for (const slot of slots) this.#senders[slot][Symbol.dispose]();
    this.agent.thaw();
  }

  #aim(slot: Slot, to: Node): void {
    Bun.sleepSync(sentMs);
    this.#aims.delete(slot);
    const dev = `wg-cni-${slot}`;
    const key = wgDump(to)[dev]?.publicKey as string;
    const keys = Object.keys(wgDump(this.node)[dev]?.peers ?? {});
    // This node may not have heard of a rotation yet: `wg` would add a peer without an endpoint.
    if (!keys.includes(key)) return;
    const allowed = keys.flatMap((one) => ["peer", one, "allowed-ips", one === key ? "0.0.0.0/0,::/0" : ""]);
    this.node.must(["wg", "set", dev, ...allowed]);
    this.#aims.set(slot, to);
  }

  #file(name: string): string {
    return `${this.recordsDir}/${name}.json`;
  }
}
