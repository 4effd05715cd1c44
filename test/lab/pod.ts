// A pod of the lab: a network namespace named in its node's /run/netns, nothing
// in it but loopback. Interfaces come from CNI plugins run by the node's runtime.

import type { Family } from "../../src/net/ip.ts";
import { Namespaces, type Running } from "./namespaces.ts";
import type { Node } from "./node.ts";
import { serveHttp } from "./traffic.ts";

export class Pod extends Namespaces {
  /** By family, filled by the runtime's ADD from the result. */
  readonly ips: { [family in Family]?: string } = {};

  private constructor(
    readonly node: Node,
    readonly name: string,
    /** As a runtime makes it up; unique in the lab. */
    readonly containerID: string,
    /** CNI_NETNS: the path inside the node. */
    readonly netns: string,
    /** The same namespace for the test process. */
    readonly netnsOutside: string,
  ) {
    super(`${node.name}/${name}`, ["-t", `${node.pid}`, "-m", "-u", "-p", `-n${netnsOutside}`]);
  }

  /** Called by Node.pod(). */
  static create(node: Node, name: string): Pod {
    const netns = `/run/netns/${name}`;
    node.script([
      `ip netns add ${name}`,
      `ip -n ${name} link set lo up`,
      `ip netns exec ${name} sh -c "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"`,
    ]);
    return new Pod(node, name, `${node.name}-${name}`, netns, node.outsidePath(netns));
  }

  /** A pod that a runtime has made: `netns` is in the node. */
  static adopt(node: Node, name: string, netns: string, ips: { readonly [family in Family]?: string }): Pod {
    const pod = new Pod(node, name, `${node.name}-${name}`, netns, node.outsidePath(netns));
    Object.assign(pod.ips, ips);
    return pod;
  }

  /** The pod's address; throws if it has none of that family. */
  ip(family: Family): string {
    const ip = this.ips[family];
    if (ip === undefined) throw new Error(`Pod ${this.label} has no IPv${family} address`);
    return ip;
  }

  /** Answers every GET on port 8080 of both families with `text`; resolves when it listens. */
  serveHttp(text: string): Promise<Running> {
    return serveHttp(this, text);
  }

  /**
   * Removes the namespace, as a runtime does after DEL. The kernel tears one down
   * some time later, and with it the other ends of links that are still in it:
   * those go first, so that a test that looks at the node afterwards sees them gone.
   */
  remove(): void {
    this.node.script([
      `for link in $(ip -n ${this.name} -o link show type veth | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/'); do`,
      `  ip -n ${this.name} link delete "$link"`,
      "done",
      `ip netns delete ${this.name}`,
    ]);
    const at = this.node.pods.indexOf(this);
    if (at >= 0) this.node.pods.splice(at, 1);
  }
}
