// The first sync of thousands of peers beside the commands that would do the same:
// wg setconf and ip -batch, of files made of what ours has programmed. They take
// turns, each time in a network namespace that has nothing yet. Both start the
// userspace WireGuard themselves.

import { writeFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import { devices, tables } from "../../kernel/support/mesh-reference.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";
import type { Figures } from "./figures.ts";

const timeoutMs = 120_000;

export function measureFirstSync(
  node: Node,
  records: readonly NodeRecord[],
  rounds: number,
): Figures["firstSync"] {
  const place = new Place(node);
  const files = makeFiles(place, records);
  const [ours, commands, firewall]: [number[], number[], number[]] = [[], [], []];
  const contenders = [
    () => ours.push(place.timed([binary, "sync"])),
    () => {
      commands.push(place.timed(["sh", "-euc", files.script]));
      firewall.push(place.timed(["nft", "-f", files.firewall]));
    },
  ];
  for (let round = 0; round < rounds; round++)
    for (let k = 0; k < contenders.length; k++) {
      place.renew();
      contenders[(round + k) % contenders.length]?.();
    }
  place.leave();
  return { ours, commands, firewall };
}

/** A network namespace of the node's, with the node's way to the others and nothing else. */
class Place {
  static readonly #name = "bench";
  #exists = false;

  constructor(readonly node: Node) {
    this.renew();
  }

  renew(): void {
    this.leave();
    const ip = this.node.ip(4);
    const inside = `ip -n ${Place.#name}`;
    this.node.script([
      `ip netns add ${Place.#name}`,
      `${inside} link set lo up`,
      `${inside} link add eth0 type veth peer name beyond`,
      `${inside} link set beyond up`,
      `${inside} address add ${ip}/24 dev eth0`,
      `${inside} link set eth0 up`,
      `${inside} route add default via ${this.node.gateways[4]} dev eth0`,
    ]);
    this.#exists = true;
  }

  /** Its daemons end first: their sockets are named after the device alone. */
  leave(): void {
    if (!this.#exists) return;
    const name = Place.#name;
    this.node.script([
      `for pid in $(ip netns pids ${name}); do kill -9 $pid; done`,
      `while [ -n "$(ip netns pids ${name})" ]; do sleep 0.1; done`,
      `ip netns delete ${name}`,
      "rm -f /run/wireguard/*.sock",
    ]);
    this.#exists = false;
  }

  run(command: readonly string[], stdin = ""): string {
    return this.node.must(["ip", "netns", "exec", Place.#name, ...command], { stdin, timeoutMs });
  }

  timed(command: readonly string[]): number {
    const startMs = performance.now();
    this.run(command);
    return performance.now() - startMs;
  }
}

/** What ours has programmed, as files for the commands. */
function makeFiles(place: Place, records: readonly NodeRecord[]): { script: string; firewall: string } {
  const { node } = place;
  place.run([binary, "up", ...node.upArguments]);
  place.run([binary, "peer", "import", "-"], JSON.stringify(records));
  const write = (name: string, text: string) => {
    writeFileSync(node.outsidePath(`/run/${name}`), text);
    return `/run/${name}`;
  };
  const batch = write("batch", `${[...batchOfLinks(node), ...batchOfRoutes(place)].join("\n")}\n`);
  const configs = devices.map((dev) => [dev, write(dev, place.run(["wg", "showconf", dev]))] as const);
  const script = [
    ...devices.map((dev) => `wireguard-go ${dev}`),
    `ip -batch ${batch}`,
    ...configs.map(([dev, file]) => `wg setconf ${dev} ${file}`),
  ].join("\n");
  return { script, firewall: write("firewall", place.run(["nft", "list", "table", "inet", "wg-cni"])) };
}

function batchOfLinks(node: Node): string[] {
  return devices.flatMap((dev) => [
    `link set ${dev} mtu 1420 up`,
    `address add ${node.ip(4)}/32 dev ${dev} noprefixroute`,
  ]);
}

/** And the rules that lead to them. */
function batchOfRoutes(place: Place): string[] {
  const routes = Object.values(tables).flatMap((table) =>
    place
      .run(["ip", "route", "show", "table", `${table}`])
      .split("\n")
      .filter(Boolean)
      .map((route) => `route add ${route.trim()} table ${table}`),
  );
  return [
    ...routes,
    `rule add pref 98 lookup ${tables.pods}`,
    `rule add pref 99 not iif lo lookup ${tables.hosts}`,
  ];
}
