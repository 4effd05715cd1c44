// `install` puts the executable into the runtime's plugin directory, and our entry into the network
// that the runtime uses. With --keep the agent maintains both.
import { disk } from "../install/disk.ts";
import { type Installed, install as installAt, type Target } from "../install/install.ts";
import { readBootId } from "../linux/boot.ts";
import { exists } from "../linux/file.ts";
import { ParseError } from "../net/error.ts";
import { type Entry, formatEntry, makesInterfaces, parseEntry } from "../plan/settings/entry.ts";
import { absolutePath, duration } from "../plan/settings/parsers.ts";
import { parseSettings, type Settings } from "../plan/settings/settings.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import { Store } from "../state/store.ts";
import { type Context, findValue, type Given, type Output, UsageError } from "./command.ts";
import { oneLine } from "./style.ts";

const ownExecutable = "/proc/self/exe";
const defaultConfDir = "/etc/cni/net.d";
const defaultWait = "1m";

export async function install(context: Context): Promise<Output> {
  const { given, stderr, stateDir } = context;
  const settings = readStored(stateDir);
  const entry = readEntry(given, settings);
  const target: Target = { ...readDirectories(given, settings), ...(entry === undefined ? {} : { entry }) };
  const waitMs = 1000 * parseFlag("wait", findValue(given, "wait") ?? defaultWait, duration(1, true));
  const source = readPath(given, "source-binary") ?? ownExecutable;
  const say = (sentence: string) => stderr(`${oneLine(sentence)}\n`);
  const installed = await installAt({ disk, target, source, waitMs, say });
  const keep = given.switches.has("keep");
  if (keep) keepInstalled(stateDir, target);
  return report(installed, target, keep);
}

/** Returns the directories as typed, else those that the agent maintains, else the usual ones. */
export function readDirectories(given: Given, settings: Settings): Pick<Target, "binDir" | "confDir"> {
  const { installBinDir, installConfDir } = settings;
  const stored = installConfDir === "" ? defaultConfDir : installConfDir;
  return {
    binDir: readPath(given, "bin-dir") ?? installBinDir,
    confDir: readPath(given, "conf-dir") ?? stored,
  };
}

/** Returns the defaults if this node has no state yet: reading must not create a store. */
function readStored(stateDir: string): Settings {
  if (!exists(`${stateDir}/state.db`)) return parseSettings({});
  using store = Store.open(stateDir, readBootId());
  return readSettings(store);
}

/** Returns undefined if the entry stays as the network has it. */
function readEntry(given: Given, { installEntry }: Settings): Entry | undefined {
  const text = findValue(given, "conf-json");
  const standalone = given.switches.has("standalone");
  const typed = text === undefined ? undefined : parseFlag("conf-json", text, parseEntry);
  if (typed === undefined && !standalone) return installEntry === "" ? undefined : parseEntry(installEntry);
  const entry = typed ?? parseEntry({});
  if (standalone) return makesInterfaces(entry) ? entry : { ...entry, ipam: {} };
  if (makesInterfaces(entry))
    throw new UsageError(
      '--conf-json: with "ipam" wg-cni makes the interfaces itself: give --standalone too',
    );
  return entry;
}

function readPath(given: Given, flag: string): string | undefined {
  const text = findValue(given, flag);
  if (text === undefined) return undefined;
  const path = parseFlag(flag, text, absolutePath);
  return path.length > 1 ? path.replace(/\/+$/, "") : path;
}

function parseFlag<T>(flag: string, text: string, parse: (raw: unknown) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof ParseError)
      throw new UsageError(`--${flag}: ${JSON.stringify(text)} ${error.message}`);
    throw error;
  }
}

/** Stores the target that the agent maintains from now on; undefined: none. */
export function keepInstalled(stateDir: string, target: Target | undefined): void {
  using store = Store.open(stateDir, readBootId());
  store.transaction(() => {
    store.putSetting("installBinDir", target?.binDir);
    store.putSetting("installConfDir", target?.confDir);
    store.putSetting("installEntry", target?.entry === undefined ? undefined : formatEntry(target.entry));
  });
}

function report({ binary, network }: Installed, { confDir }: Target, keep: boolean): Output {
  const path = `${confDir}/${network.file}`;
  return {
    json: { binary, network: { path, plugins: network.types, wrote: network.wrote }, kept: keep },
    text: (style) => {
      const line = (text: string, state: string) =>
        `  ${style.green("✓")} ${text} ${style.dim(`(${state})`)}\n`;
      const lines = [
        line(binary.path, binary.wrote ? "written, and read into memory" : "as it was"),
        line(`${path}: ${network.types.join(", ")}`, network.wrote ? "written" : "as it was"),
      ];
      const kept = keep ? `  ${style.green("✓")} the agent keeps it so\n` : "";
      return `wg-cni is installed\n${lines.join("")}${kept}`;
    },
  };
}
