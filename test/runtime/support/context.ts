// Each of these tests begins with nodes of one mesh that are ready for a container runtime, and with the
// image as a file.

import type { Lab } from "../../lab/lab.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Pod } from "../../lab/pod.ts";
import { Enclosure } from "./enclosure.ts";
import { writeImage } from "./image.ts";
import { standalone } from "./networks.ts";

export interface ContextOptions {
  /** 1 unless told: n1, n2, ... */
  readonly nodes?: number;
  /** IPv4 alone unless told. */
  readonly hasIp6?: boolean;
}

export class Context {
  private constructor(
    readonly lab: Lab,
    readonly enclosures: readonly Enclosure[],
    /** Of the image. */
    readonly archive: string,
  ) {}

  /** In a lab that has a control group. */
  static async create(lab: Lab, { nodes = 1, hasIp6 = false }: ContextOptions = {}): Promise<Context> {
    const archive = `${lab.sharedDirectory}/image.tar`;
    writeImage(archive);
    const enclosures: Enclosure[] = [];
    for (let i = 1; i <= nodes; i++) {
      const ip4 = { ip4: `192.0.2.${i}`, podCidrs: [`10.244.${i}.0/24`] };
      const both = { ...ip4, ip6: `2001:db8::${i}`, podCidrs: [...ip4.podCidrs, `fd00:10:244:${i}::/64`] };
      enclosures.push(Enclosure.create(lab, await lab.node(`n${i}`, hasIp6 ? both : ip4)));
    }
    await joinMesh(lab.nodes);
    return new Context(lab, enclosures, archive);
  }

  /** Of the first node. */
  get enclosure(): Enclosure {
    return this.enclosures[0] as Enclosure;
  }

  /** A pod of the lab on the last node: somebody to talk to. */
  async remotePod(): Promise<Pod> {
    const { node } = this.enclosures.at(-1) as Enclosure;
    const pod = node.pod("remote");
    await node.runtime.add(standalone(), pod);
    return pod;
  }
}
