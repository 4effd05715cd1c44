// Killed at every point: before each thing that is done to a file, and in the
// middle of writing one. Whatever a runtime then finds is whole and works, and
// running the command again ends where it would have ended without.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { confFiles, parseConfList } from "../../src/install/conflist.ts";
import { type Disk, disk } from "../../src/install/disk.ts";
import { Host, ptpConf, ptpList } from "./host.ts";

setDefaultTimeout(60_000);

class Killed extends Error {}

/** The operations that change something; each of them is a point of a crash. */
const deeds = ["create", "copy", "exchange", "name", "rename", "remove", "flush"] as const;

/** A disk that is dead from the nth deed on, as for a process that was killed: nothing tidies up any more. */
function mortalDisk(
  deedsToLive: number,
  halfWritten: boolean,
  canExchange: boolean,
): Disk & { done: number } {
  const mortal = { ...disk, done: 0 };
  if (!canExchange) mortal.exchange = () => false;
  for (const name of deeds) {
    const deed = mortal[name] as (...args: unknown[]) => unknown;
    const replacement = (...args: unknown[]) => {
      if (mortal.done > deedsToLive) throw new Killed();
      if (mortal.done++ === deedsToLive) {
        if (halfWritten && name === "create")
          writeFileSync(args[0] as string, (args[1] as string).slice(0, 20));
        if (halfWritten && name === "copy") writeFileSync(args[1] as string, "#!/bin", { mode: 0o755 });
        throw new Killed();
      }
      return deed(...args);
    };
    Object.assign(mortal, { [name]: replacement });
  }
  return mortal;
}

/** Reads the host as a runtime would now; throws if it would not work. */
function inspect(host: Host, versions: readonly string[]): string[] {
  const files = confFiles([...(disk.list(host.confDir) ?? [])]);
  const networks = files.map((file) => parseConfList(file, host.get(file)));
  const names = networks.some(({ plugins }) => plugins.some(({ type }) => type === "wg-cni"));
  const plugin = existsSync(host.plugin) ? readFileSync(host.plugin, "utf8") : undefined;
  if (names) expect(plugin).toBeDefined();
  if (plugin !== undefined)
    expect(versions.map((version) => `#!/bin/sh\necho ${version}\n`)).toContain(plugin);
  return (networks[0]?.plugins ?? []).map(({ type }) => type);
}

interface Case {
  readonly name: string;
  readonly file?: string;
  readonly text?: string;
  readonly entry?: { type: string; ipam: object };
  /** The plugins that the runtime calls before and after. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

const cases: readonly Case[] = [
  { name: "a list", file: "10.conflist", text: ptpList, before: ["ptp"], after: ["ptp", "wg-cni"] },
  { name: "a .conf", file: "10.conf", text: ptpConf, before: ["ptp"], after: ["ptp", "wg-cni"] },
  { name: "a .json", file: "10.json", text: ptpConf, before: ["ptp"], after: ["ptp", "wg-cni"] },
  { name: "our own", entry: { type: "wg-cni", ipam: {} }, before: [], after: ["wg-cni"] },
];
const ways = cases.flatMap((one) =>
  [true, false].flatMap((canExchange) =>
    [true, false].map((halfWritten) => ({ ...one, canExchange, halfWritten })),
  ),
);

function prepare({ file, text }: Case): Host {
  const host = new Host();
  host.plugins("ptp");
  if (file !== undefined && text !== undefined) host.put(file, text);
  return host;
}

describe.each(ways)("$name, exchange: $canExchange, half-written: $halfWritten", (way) => {
  const { entry, before, after, canExchange, halfWritten } = way;
  const original = way.file === undefined ? {} : { [way.file]: way.text as string };

  test("while installing", async () => {
    let points = 0;
    for (let alive = false; !alive && points < 60; points++) {
      using host = prepare(way);
      const mortal = mortalDisk(points, halfWritten, canExchange);
      alive = await host.install(entry, 0, mortal).then(
        () => true,
        (error) => expect(error).toBeInstanceOf(Killed) === undefined && false,
      );
      expect([before, after]).toContainEqual(inspect(host, ["v1"]));
      // Taken back from there,
      if (points % 2 === 0) {
        host.uninstall();
        expect(host.texts()).toEqual(original);
        expect(existsSync(host.plugin)).toBe(false);
      }
      // or gone on with.
      await host.install(entry);
      expect(inspect(host, ["v1"])).toEqual([...after]);
      expect(Object.keys(host.texts()).filter((name) => name.includes("unfinished"))).toEqual([]);
      host.uninstall();
      expect(host.texts()).toEqual(original);
    }
    expect(points).toBeGreaterThan(6);
  });

  test("while uninstalling", async () => {
    let points = 0;
    for (let alive = false; !alive && points < 60; points++) {
      using host = prepare(way);
      await host.install(entry);
      try {
        host.uninstall(false, mortalDisk(points, halfWritten, canExchange));
        alive = true;
      } catch (error) {
        expect(error).toBeInstanceOf(Killed);
      }
      expect([before, after]).toContainEqual(inspect(host, ["v1"]));
      if (points % 2 === 0) {
        await host.install(entry);
        expect(inspect(host, ["v1"])).toEqual([...after]);
      }
      host.uninstall();
      expect(host.texts()).toEqual(original);
      expect(existsSync(host.plugin)).toBe(false);
    }
    expect(points).toBeGreaterThan(3);
  });

  test("while another version is installed and its owner has rewritten the network", async () => {
    for (let points = 0, alive = false; !alive && points < 60; points++) {
      using host = prepare(way);
      await host.install(entry);
      if (way.file !== undefined) host.put(way.file, way.text as string);
      host.release("v2");
      alive = await host.install(entry, 0, mortalDisk(points, halfWritten, canExchange)).then(
        () => true,
        () => false,
      );
      expect([before, after]).toContainEqual(inspect(host, ["v1", "v2"]));
      await host.install(entry);
      expect(inspect(host, ["v2"])).toEqual([...after]);
      host.uninstall();
      expect(host.texts()).toEqual(original);
    }
  });
});
