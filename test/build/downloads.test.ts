// A build fetches only what this repository names: packages by the hashes in package-lock.json, the
// image to build in by its digest, Go modules by the public log of checksums.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchLocked, readLocked } from "../../scripts/locked-package.ts";
import { repository } from "../lab/paths.ts";

const lockFile = readFileSync(join(repository, "package-lock.json"), "utf8");
const content = "an executable for another architecture";
const integrityOf = (text: string) => `sha512-${createHash("sha512").update(text).digest("base64")}`;
const locked = { name: "@example/bun", version: "1.2.3", integrity: integrityOf(content) };

describe("a package for another architecture", () => {
  let cache: string;
  beforeAll(() => {
    cache = mkdtempSync(join(tmpdir(), "wg-cni-downloads-"));
  });
  afterAll(() => rmSync(cache, { recursive: true, force: true }));

  /** The registry's answers, and the requests that it got. */
  const registry = (answer: string) => {
    const asked: string[] = [];
    const pack = (spec: string, directory: string) => {
      asked.push(spec);
      writeFileSync(join(directory, "example-bun-1.2.3.tgz"), answer);
    };
    return { asked, pack };
  };

  test("that is not the locked one is refused, and nothing of it stays", () => {
    const { asked, pack } = registry(`${content}, and something else`);
    expect(() => fetchLocked(locked, cache, pack)).toThrow("is not what package-lock.json names");
    expect(asked).toEqual(["@example/bun@1.2.3"]);
    expect(readdirSync(cache)).toEqual([]);
  });

  test("that is the locked one is fetched once", () => {
    const { asked, pack } = registry(content);
    const tarball = fetchLocked(locked, cache, pack);
    expect(readFileSync(tarball, "utf8")).toBe(content);
    expect(fetchLocked(locked, cache, pack)).toBe(tarball);
    expect(asked).toHaveLength(1);
  });

  test("that was changed in the cache is refused, and fetched again the next time", () => {
    const { asked, pack } = registry(content);
    const tarball = fetchLocked(locked, cache, pack);
    writeFileSync(tarball, "changed");
    expect(() => fetchLocked(locked, cache, pack)).toThrow("is not what package-lock.json names");
    expect(existsSync(tarball)).toBe(false);
    fetchLocked(locked, cache, pack);
    expect(asked).toHaveLength(1);
  });

  const poor: Record<string, object> = {
    "is not in it": {},
    "is in it without a hash": { "node_modules/@example/bun": { version: "1.2.3" } },
    "is in it with a weak hash": {
      "node_modules/@example/bun": { version: "1.2.3", integrity: "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=" },
    },
  };
  test.each(Object.entries(poor))("that %s is not fetched", (_, packages) => {
    expect(() => readLocked(JSON.stringify({ packages }), "@example/bun")).toThrow("has no sha512 hash");
  });

  test.each(["@oven/bun-linux-aarch64", "@oven/bun-linux-x64"])("%s is locked", (name) => {
    expect(readLocked(lockFile, name)).toMatchObject({ name, version: expect.stringMatching(/^\d/) });
  });
});

test("each package of the lock file has a sha512 hash, and none is from elsewhere than the registry", () => {
  const { packages } = JSON.parse(lockFile) as { packages: Record<string, Record<string, unknown>> };
  const installed = Object.entries(packages).filter(([path]) => path !== "");
  expect(installed.length).toBeGreaterThan(100);
  for (const [path, { integrity, resolved, link }] of installed) {
    expect({ path, integrity }).toEqual({ path, integrity: expect.stringMatching(/^sha512-[\w+/]{86}==$/) });
    expect({ path, link, resolved: resolved ?? "" }).toEqual({
      ...{ path, link: undefined },
      resolved: expect.stringMatching(/^(https:\/\/registry\.npmjs\.org\/.*)?$/),
    });
  }
});

describe("the image", () => {
  const lines = readFileSync(join(repository, "conf/Containerfile"), "utf8").split("\n");
  const defaults = new Map(
    lines.flatMap((line) => {
      const [, name = "", value = ""] = /^ARG (\w+)=(\S+)$/.exec(line) ?? [];
      return name === "" ? [] : [[name, value] as const];
    }),
  );
  const stages = lines.flatMap((line) => {
    const [, image = "", name = ""] = /^FROM (?:--\S+ )*(\S+)(?: AS (\S+))?$/i.exec(line) ?? [];
    return image === ""
      ? []
      : [{ name, image: image.replace(/\$\{(\w+)\}/, (_, arg) => defaults.get(arg) ?? "") }];
  });

  test("is made from nothing, and built in an image that its digest names", () => {
    expect(stages.map(({ name }) => name)).toEqual(["build", ""]);
    expect(stages[0]?.image).toMatch(
      /^docker\.io\/library\/node:\d+\.\d+\.\d+-bookworm-slim@sha256:[0-9a-f]{64}$/,
    );
    expect(stages.at(-1)?.image).toBe("scratch");
  });

  test("takes nothing else from the network than npm packages by the lock file", () => {
    const froms = lines.filter((line) => /^\s*FROM /i.test(line));
    expect(froms).toHaveLength(stages.length);
    const commands = lines.filter((line) => !line.startsWith("#")).join("\n");
    expect(commands).toContain("COPY package.json package-lock.json");
    expect(commands).toContain("npm ci");
    expect(commands).not.toMatch(/\b(curl|wget|apt-get|apk|git|pip|npm i|npm install|ADD)\b/);
    const copied = [...commands.matchAll(/--from=(\S+)/g)].map((match) => match[1]);
    expect(copied).toEqual(["build"]);
  });
});

test("scripts that build Go programs let the log of checksums vouch for each module", () => {
  const script = `import { Go } from ${JSON.stringify(join(repository, "scripts/go-build.ts"))};
    process.stdout.write(new Go(process.argv[2], process.argv[1]).run(["env"]));`;
  const directory = mkdtempSync(join(tmpdir(), "wg-cni-go-"));
  try {
    // Stands for the compiler: prints what it is given.
    const go = join(directory, "go");
    writeFileSync(go, "#!/bin/sh\nexec env\n", { mode: 0o755 });
    const env = { ...process.env, GOSUMDB: "off", GONOSUMDB: "*", GOFLAGS: "-insecure" };
    const done = Bun.spawnSync([join(repository, "scripts/bun"), "-e", script, directory, go], { env });
    const given = new Set(done.stdout.toString().split("\n"));
    for (const line of ["GOSUMDB=sum.golang.org", "GONOSUMDB=none", "GOFLAGS=-mod=mod -modcacherw"])
      expect(given).toContain(line);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
