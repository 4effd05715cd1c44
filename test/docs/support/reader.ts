// Two fresh machines, and somebody who copies the blocks of a page by hand.
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { Lab } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import { waitUntil } from "../../lab/wait.ts";
import { type Block, isRunInPlace, type ShellBlock, shellBlocks } from "./pages.ts";

/** Stands in for systemd: starts and stops what the unit's file says. */
const systemctl = `#!/bin/sh
set -eu
unit=/etc/systemd/system/wg-cni-agent.service
start() {
  setsid $(sed -n 's/^ExecStart=//p' $unit) >/run/agent.log 2>&1 </dev/null &
  echo $! >/run/agent.pid
  timeout 20 sh -c 'until wg-cni probe ready; do sleep 0.1; done' >/dev/null 2>&1
}
stop() {
  pid=$(cat /run/agent.pid)
  kill "$pid"
  timeout 20 sh -c "while kill -0 $pid; do sleep 0.1; done" 2>/dev/null
}
case "$*" in
  daemon-reload) ;;
  "enable --now wg-cni-agent") start ;;
  "restart wg-cni-agent") stop; start ;;
  "disable --now wg-cni-agent") stop ;;
  *) echo "this systemctl does not know: $*" >&2; exit 1 ;;
esac
`;

/** Stands in for curl, which not every machine has; its arguments are "-s" and the address. */
const curl = `#!/bin/sh
exec ${process.execPath} -e 'process.stdout.write(await (await fetch(process.argv.at(-1))).text())' -- "$@"
`;

export class Reader {
  private constructor(
    readonly nodes: readonly [Node, Node],
    /** The same for both nodes, so that what a page says to copy is there. */
    readonly directory: string,
  ) {}

  /** The nodes have no routes to each other's pods, nothing in /opt, and the reference plugins to copy. */
  static async create(lab: Lab): Promise<Reader> {
    const one = await lab.node("node-1", { ip4: "192.0.2.1", podCidrs: [] });
    const two = await lab.node("node-2", { ip4: "192.0.2.2", podCidrs: [] });
    const shared = one.sharedDirectory;
    for (const name of ["bin", "checkout", "srv"]) mkdirSync(`${shared}/${name}`);
    for (const name of ["plugin-bin", "conf"])
      symlinkSync(`${repository}/${name}`, `${shared}/checkout/${name}`);
    for (const [name, script] of Object.entries({ systemctl, curl }))
      writeFileSync(`${shared}/bin/${name}`, script, { mode: 0o755 });
    for (const node of [one, two])
      node.script([
        "mount -t tmpfs tmpfs /opt",
        `mount --bind ${shared}/srv /srv`,
        "mkdir -p /etc/systemd/system /opt/cni/bin",
        "cp /usr/lib/cni/ptp /usr/lib/cni/host-local /opt/cni/bin/",
      ]);
    return new Reader([one, two], `${shared}/checkout`);
  }

  /** Runs all blocks of the page that need nothing else, in order. Throws at the first that fails. */
  async follow(page: string): Promise<void> {
    for (const block of shellBlocks(page).filter(isRunInPlace))
      for (const node of this.#nodesFor(block)) await this.#copy(page, block, node);
  }

  #nodesFor({ marker }: Block): readonly Node[] {
    if (marker === undefined) return [this.nodes[0]];
    return marker.value === "node-2" ? [this.nodes[1]] : this.nodes;
  }

  /** A block that only shows something is repeated until it succeeds, as a person does who waits for a handshake. */
  async #copy(page: string, { code, line, output }: ShellBlock, node: Node): Promise<void> {
    const onlyShows = code
      .split("\n")
      .every((command) => /^(wg-cni (status|doctor|key show)|curl)\b/.test(command));
    const PATH = `${node.sharedDirectory}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/cni/bin`;
    let said = "";
    const succeeds = async () => {
      const script = `cd ${this.directory}\n${code}`;
      const done = await node.run(["sh", "-euc", script], { env: { PATH } });
      said = `${done.stdout}${done.stderr}`;
      if (done.exitCode === 0 && (output === undefined || isAlike(done.stdout, output))) return true;
      if (!onlyShows) throw new Error(`${page}:${line} on ${node.name} fails: ${said}`);
      return false;
    };
    await waitUntil(succeeds, { what: () => `${page}:${line} on ${node.name} succeeds: ${said}` });
  }
}

/** The same but for numbers, which are those of the page's own nodes. */
function isAlike(output: string, shown: string): boolean {
  const shape = (text: string) => text.trim().replaceAll(/\d+/g, "N");
  return shape(output) === shape(shown);
}
