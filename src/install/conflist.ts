// The parser reads a network configuration file as container runtimes do (libcni's
// conf.go, go-cni, ocicni), and knows which file of a directory they use. Texts have one
// character per byte, so that bytes that are not understood pass through unchanged. Pure.

import { isSupported, newestVersion } from "../net/cni-version.ts";
import { messageOf, ParseError } from "../net/error.ts";
import { scalarText } from "../net/scalar-text.ts";
import { makesInterfaces, plainEntry } from "../plan/settings/entry.ts";

/** Runtimes find our executable under this type. */
export const ownType = plainEntry.type;

/** One element of a network's plugins. */
export interface Plugin {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface ConfList {
  /** A `.conflist` holds a list of plugins; `.conf` and `.json` hold one plugin, which is the whole text. */
  readonly form: "list" | "single";
  readonly name: string;
  /** The plugins in the order in which ADD calls them. */
  readonly plugins: readonly Plugin[];
}

/** Returns the names of the files that a runtime reads as network configurations, the one in use first. Hidden files count, too. */
export function confFiles(names: readonly string[]): string[] {
  const files = names.filter((name) => /\.(conf|conflist|json)$/.test(name));
  // Go sorts by bytes.
  return files.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** Throws ParseError ("it …") if a runtime would not use the text. */
export function parseConfList(file: string, text: string): ConfList {
  const json = parseObject(text);
  const form = file.endsWith(".conflist") ? "list" : "single";
  const { name } = json;
  if (typeof name !== "string" || name === "") throw new ParseError("it has no network name");
  const plugins = form === "list" ? parsePlugins(json["plugins"]) : [parseSingle(json)];
  return { form, name, plugins };
}

/** Throws ParseError if we support none of the versions of the configuration: our plugin would then reject every pod. */
export function requireKnownVersion(text: string): void {
  const { cniVersion, cniVersions } = parseObject(text);
  const offered = [cniVersion, ...(Array.isArray(cniVersions) ? cniVersions : [])].filter(
    (version) => version !== undefined && version !== "",
  );
  if (offered.length === 0 || offered.some((version) => isSupported(scalarText(version)))) return;
  throw new ParseError(
    `its cniVersion ${offered.map(scalarText).join(", ")} is not known to this wg-cni, whose newest is ${newestVersion}`,
  );
}

/** True if wg-cni makes the interfaces of this network instead of following another plugin. */
export function isStandalone({ plugins: [main] }: ConfList): boolean {
  return main !== undefined && isOwn(main) && makesInterfaces(main);
}

export function isOwn({ type }: Plugin): boolean {
  return type === ownType;
}

function parseObject(text: string): Record<string, unknown> {
  if (text.trim() === "") throw new ParseError("it is empty");
  // This is the byte order mark of UTF-8, with one character per byte.
  if (text.startsWith("\xef\xbb\xbf"))
    throw new ParseError("it begins with a byte order mark, which no runtime takes: write it without");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const why = messageOf(error);
    throw new ParseError(`it is not JSON, or not wholly written yet (${why})`);
  }
  if (!isObject(json)) throw new ParseError("it is not a JSON object");
  return json;
}

function parseSingle(json: Record<string, unknown>): Plugin {
  if (isPlugin(json)) return json;
  const hint = Array.isArray(json["plugins"]) ? ", but a list: its name must end in .conflist" : "";
  throw new ParseError(`it is not one plugin, since it has no "type"${hint}`);
}

function parsePlugins(plugins: unknown): readonly Plugin[] {
  // libcni also reads plugins from a directory and appends them to those of the list.
  if (plugins === undefined) throw new ParseError('it has no "plugins" to follow');
  if (!Array.isArray(plugins)) throw new ParseError('its "plugins" is not a list');
  if (plugins.length === 0) throw new ParseError('its "plugins" is empty');
  if (!plugins.every(isPlugin)) throw new ParseError('one of its plugins has no "type"');
  return plugins;
}

function isPlugin(value: unknown): value is Plugin {
  return isObject(value) && typeof value["type"] === "string" && value["type"] !== "";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
