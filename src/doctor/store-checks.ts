// Checks of the state store from outside: that it is whole, ours alone, and has
// room to grow.
import type { FileStatus } from "../linux/file.ts";
import { formatBytes } from "../net/human-format.ts";
import { type Check, fail, ok, warn } from "./finding.ts";

/** The permission bits of the group and of all other users. */
const foreignBits = 0o077;
/** SQLite's log grows to a few MiB before it is cut. */
const enoughBytes = 64 * 1024 * 1024;
const tooFewBytes = 1024 * 1024;
const enoughFiles = 100;

export const storeChecks: readonly Check[] = [
  {
    name: "store",
    impact: "the store has the intent and the sealed keys of this node; without it no pod can be added",
    run: ({ files: { stateDir, directory, database, fault } }) => {
      if (directory === undefined || database === undefined)
        return fail(`there is no state.db in ${stateDir}`, "run `wg-cni up`, or give --state-dir");
      if (fault !== undefined) return fail(fault);
      const open = [
        ...exposure(stateDir, directory, "700"),
        ...exposure(`${stateDir}/state.db`, database, "600"),
      ];
      if (open.length > 0)
        return warn(
          "other users may read or change the store",
          open.map(({ remedy }) => remedy).join("; "),
          open.map(({ what }) => what),
        );
      return ok(`${stateDir}/state.db is sound and root's alone`);
    },
  },
  {
    name: "disk",
    impact: "if the disk is full, pods are refused",
    run: ({ files: { stateDir, space } }) => {
      const left = `only ${formatBytes(space.freeBytes)} and ${space.freeFiles} files are left for ${stateDir}`;
      const remedy = "free some on that filesystem";
      if (space.freeBytes < tooFewBytes || space.freeFiles === 0) return fail(left, remedy);
      if (space.freeBytes < enoughBytes || space.freeFiles < enoughFiles) return warn(left, remedy);
      const bytes = space.freeBytes === Number.POSITIVE_INFINITY ? "no limit" : formatBytes(space.freeBytes);
      return ok(`${bytes} left for ${stateDir}`);
    },
  },
  {
    name: "seal key",
    impact:
      "without the seal key this node's private keys cannot be opened, so a lost device cannot be made again",
    run: ({ node }) => {
      if (node?.identity === undefined) return undefined;
      const { sealFault, settings } = node;
      if (sealFault !== undefined)
        return fail(sealFault, "restore the file as it was, or make new keys: `wg-cni up --new-keys`");
      return ok(`${settings.sealKeyFile} opens this node's keys, and only root can read it`);
    },
  },
  {
    name: "machine",
    impact:
      "if two machines have the same keys, peers send to the one that they heard last, and packets for the other are lost",
    run: ({ files: { stateDir }, node }) => {
      if (node?.identity === undefined) return undefined;
      const { name } = node.identity;
      if (!node.isOfOtherMachine) return ok(`nothing says that ${stateDir} was copied from another machine`);
      return fail(
        `${stateDir} was made on another machine, and has its name, ${name}, and its keys`,
        "if this machine takes the other's place, `wg-cni up`; if both run, give this one its own: `wg-cni up --node NAME`",
      );
    },
  },
];

interface Exposure {
  readonly what: string;
  readonly remedy: string;
}

function exposure(path: string, { mode, uid }: FileStatus, wanted: string): Exposure[] {
  const found: Exposure[] = [];
  if ((mode & foreignBits) !== 0)
    found.push({ what: `${path} has mode ${mode.toString(8)}`, remedy: `chmod ${wanted} ${path}` });
  if (uid !== 0) found.push({ what: `${path} belongs to user ${uid}`, remedy: `chown root ${path}` });
  return found;
}
