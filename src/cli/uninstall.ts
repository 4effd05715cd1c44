// `uninstall` restores the networks as they were before wg-cni, and then removes the executable. The
// setting for the agent changes first, because the agent would restore our entry.
import { disk } from "../install/disk.ts";
import { type Removed, type Target, uninstall as uninstallFrom } from "../install/install.ts";
import type { Removal } from "../install/remove.ts";
import { findTarget } from "../install/target.ts";
import { readBootId } from "../linux/boot.ts";
import { exists } from "../linux/file.ts";
import { SysError } from "../linux/syscall.ts";
import { countOf } from "../net/human-format.ts";
import { NetlinkError } from "../netlink/error.ts";
import { hasNftTable } from "../netlink/nft/presence.ts";
import { Nft } from "../netlink/nft/table.ts";
import { podFirewallName } from "../plan/pods/firewall-name.ts";
import { parseSettings, type Settings } from "../plan/settings/settings.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import { StoreError } from "../state/error.ts";
import { Store } from "../state/store.ts";
import type { Context, Output } from "./command.ts";
import { keepInstalled, readDirectories } from "./install.ts";
import { oneLine } from "./style.ts";

/** CRI-O removes a pod with the network that it added the pod with, even if that network has changed since. */
const crioSocket = "/run/crio/crio.sock";

/** The values of the store that `uninstall` needs. */
interface Stored {
  readonly settings: Settings;
  readonly pods: number;
  readonly up: boolean;
  /** The reason why the store cannot be read; wg-cni can be uninstalled all the same. */
  readonly problem?: string;
}

export function uninstall({ given, stateDir }: Context): Output {
  const stored = readStored(stateDir);
  const directories = readDirectories(given, stored.settings);
  const mayBeCalled = stored.pods > 0 && exists(crioSocket);
  const kept = findTarget(stored.settings);
  if (kept !== undefined) keepInstalled(stateDir, undefined);
  let removed: Removed;
  try {
    removed = uninstallFrom(disk, directories, mayBeCalled || given.switches.has("keep-binary"));
  } catch (error) {
    if (kept !== undefined) keepInstalled(stateDir, kept);
    throw error;
  }
  return report(removed, directories, [
    ...(removed.binary === "removed" ? dropPodFirewall() : []),
    ...describeRest(stored, removed, mayBeCalled),
  ]);
}

/** Removes the table of pods, because no runtime calls wg-cni any more when the last pod ends. Returns a failure as a sentence. */
function dropPodFirewall(): string[] {
  try {
    if (!hasNftTable(podFirewallName.name)) return [];
    using nft = Nft.open();
    nft.delete(podFirewallName);
    return [];
  } catch (error) {
    if (!(error instanceof NetlinkError || error instanceof SysError)) throw error;
    return [`nftables still has a table of wg-cni's: ${error.message}`];
  }
}

function readStored(stateDir: string): Stored {
  const nothing = { settings: parseSettings({}), pods: 0, up: false };
  if (!exists(`${stateDir}/state.db`)) return nothing;
  try {
    using store = Store.open(stateDir, readBootId());
    return {
      settings: readSettings(store),
      pods: store.attachments().length,
      up: store.identity()?.up === true,
    };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return { ...nothing, problem: error.message };
  }
}

function describeRest({ pods, up, problem }: Stored, { binary }: Removed, mayBeCalled: boolean): string[] {
  const warnings: string[] = [];
  if (problem !== undefined)
    warnings.push(`an agent that keeps wg-cni installed could not be told: ${problem}`);
  if (binary === "kept" && mayBeCalled)
    warnings.push(
      `the plugin stays, since CRI-O calls it for ${countOf(pods, "pod")} that it added; run this again when they are gone`,
    );
  if (up) warnings.push("the mesh is still up: `wg-cni down` removes it");
  return warnings;
}

function report(
  { networks, binary }: Removed,
  { binDir, confDir }: Pick<Target, "binDir" | "confDir">,
  warnings: readonly string[],
): Output {
  const done = [
    ...networks.flatMap((removal) => describe(removal).map((text) => `${confDir}/${text}`)),
    ...(binary === "removed" ? [`${binDir}/wg-cni: removed`] : []),
  ];
  const headline = done.length === 0 ? "wg-cni was not installed here" : "wg-cni is uninstalled";
  return {
    json: { confDir, networks: networks.flatMap(describe), binary, warnings },
    text: (style) =>
      [
        headline,
        ...done.map((text) => `  ${style.green("✓")} ${oneLine(text)}`),
        ...warnings.map((warning) => `  ${style.yellow("!")} ${oneLine(warning)}`),
        "",
      ].join("\n"),
  };
}

function describe(removal: Removal): string[] {
  switch (removal.do) {
    case "write":
      return [`${removal.file}: without wg-cni`];
    case "restore":
      return [`${removal.single}: back in the place of ${removal.list}`];
    case "remove":
      return [`${removal.file}: removed`];
    case "disable":
      return [`${removal.file}: is ${removal.to} now, since nothing but wg-cni made its interfaces`];
    case "forget":
      return [];
  }
}
