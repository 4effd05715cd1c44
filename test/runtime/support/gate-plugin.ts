// A plugin that holds ADD up for as long as its gate is closed, so that a test can
// have an ADD under way. Chained to others, it passes on what they made.

import { waitUntil } from "../../lab/wait.ts";
import { binDir, type Enclosure } from "./enclosure.ts";

const closed = "/run/gate-closed";
const waiting = "/run/gate-waiting";

const script = `#!/bin/sh
case $CNI_COMMAND in
  ADD)
    conf=$(cat)
    [ ! -e ${closed} ] || echo $$ >${waiting}
    while [ -e ${closed} ]; do sleep 0.02; done
    printf %s "$conf" | jq -c .prevResult ;;
  VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}' ;;
esac
`;

export const gate = { type: "gate" };

export function installGate(enclosure: Enclosure): void {
  enclosure.write(`${binDir}/gate`, script);
  enclosure.node.must(["chmod", "755", `${binDir}/gate`]);
}

export interface HeldAdd {
  /** The result of the call: the message of its error, or nothing if it succeeded. */
  readonly outcome: Promise<string>;
  /** SIGKILL of the plugin that holds the ADD up. */
  killPlugin(): unknown;
  /** When that plugin has ended in another way. */
  openGate(): unknown;
}

/** Resolves when the ADD that `begin` leads to has come as far as here. The next one passes. */
export async function holdAdd({ node }: Enclosure, begin: () => Promise<unknown>): Promise<HeldAdd> {
  node.script([`rm -f ${waiting}`, `touch ${closed}`]);
  const outcome = begin().then(
    () => "",
    (error: Error) => error.message,
  );
  const look = () => node.exec(["cat", waiting]).stdout.trim();
  const plugin = await waitUntil(look, { what: "an ADD comes to the gate" });
  return {
    outcome,
    killPlugin: () => node.script([`kill -s KILL ${plugin}`, `rm ${closed}`]),
    openGate: () => node.must(["rm", closed]),
  };
}
