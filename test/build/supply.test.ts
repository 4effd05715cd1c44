// The executable's contents are known: the bundle has the same bytes wherever it is made, every package in it has an
// accepted licence whose text goes with a release, and the bill of materials has its hash. Known vulnerabilities fail.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundle } from "../../scripts/bundle.ts";
import { type AuditReport, type AuditVerdict, judgeAudit } from "../../scripts/supply/audit.ts";
import { type Component, findComponents } from "../../scripts/supply/components.ts";
import { type Bom, makeBom, readNpmBom } from "../../scripts/supply/sbom.ts";
import { formatThirdParty } from "../../scripts/supply/third-party.ts";
import { repository } from "../lab/paths.ts";

const lockFile = readFileSync(join(repository, "package-lock.json"), "utf8");
const { packages } = JSON.parse(lockFile) as { packages: Record<string, Omit<Component, "path" | "name">> };

/** Debian's own npm is older than `npm sbom`; a release needs a newer one. */
const hasSbom =
  Bun.spawnSync(["npm", "sbom", "--help"], { stdout: "ignore", stderr: "ignore" }).exitCode === 0;
const reason = hasSbom ? "" : " (skipped: npm 10 or newer is needed)";

describe("the bundle", () => {
  let work: string;
  let files: readonly string[];
  let components: readonly Component[];
  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), "wg-cni-supply-"));
    files = await bundle(join(work, "here"));
    components = findComponents(files, lockFile);
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  test("has the same bytes if it is made of a copy in another directory", () => {
    const copy = join(work, "a copy");
    mkdirSync(copy);
    for (const name of ["src", "scripts", "package.json", "package-lock.json"])
      cpSync(join(repository, name), join(copy, name), { recursive: true });
    symlinkSync(join(repository, "node_modules"), join(copy, "node_modules"));
    const there = join(work, "there");
    const script = `import { bundle } from "./scripts/bundle.ts"; await bundle(${JSON.stringify(there)});`;
    const done = Bun.spawnSync([join(copy, "scripts/bun"), "-e", script], { cwd: copy, stderr: "pipe" });
    expect(done.stderr.toString()).toBe("");
    const names = readdirSync(join(work, "here")).sort();
    expect(names.length).toBeGreaterThan(4);
    expect(readdirSync(there).sort()).toEqual(names);
    for (const name of names)
      expect({
        name,
        same: readFileSync(join(work, "here", name)).equals(readFileSync(join(there, name))),
      }).toEqual({
        name,
        same: true,
      });
  });

  test("has packages of the lock file, and both builds of Bun are with them", () => {
    expect(components.length).toBeGreaterThan(15);
    for (const { path, version, integrity } of components)
      expect({ path, ...packages[path] }).toMatchObject({ path, version, integrity });
    const names = components.map(({ name }) => name);
    expect(names).toContain("@oven/bun-linux-x64");
    expect(names).toContain("@oven/bun-linux-aarch64");
    expect(names).not.toContain("undici");
  });

  test("has a section with the text of a licence for each package in THIRD-PARTY", () => {
    const [, ...sections] = formatThirdParty(repository, components).split(/^-{80}\n(?=.+\n-{80}$)/m);
    const [bun, ...rest] = sections.map((section) => section.split("\n", 1)[0]);
    const runtime = components.find(({ name }) => name === "@oven/bun-linux-x64");
    expect(bun).toBe(`Bun ${runtime?.version}`);
    expect(rest).toEqual(
      components
        .filter(({ name }) => !name.startsWith("@oven/"))
        .map(({ name, version, license }) => `${name} ${version} (${license})`),
    );
    for (const section of sections) expect(section).toMatch(/licen[cs]e|permission/i);
    expect(sections.map((section) => section.length).filter((length) => length < 600)).toEqual([]);
  });

  test.skipIf(!hasSbom)(`has each package with its hash, once, in the bill of materials${reason}`, () => {
    const npm = readNpmBom(repository);
    const time = new Date("2026-01-02T03:04:05Z");
    const libc = { name: "libc6", version: "2.36-9+deb12u14", architecture: "arm64" };
    const bom = makeBom(npm, components, [libc], time);
    const hex = ({ integrity }: Component) =>
      Buffer.from(integrity.slice("sha512-".length), "base64").toString("hex");
    expect(bom.components.map(({ purl, hashes }) => ({ purl, hashes }))).toEqual([
      ...components.map((one) => ({
        purl: `pkg:npm/${one.name.replace("@", "%40")}@${one.version}`,
        hashes: [{ alg: "SHA-512", content: hex(one) }],
      })),
      { purl: "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=arm64", hashes: undefined },
    ] as unknown as { purl: unknown; hashes: unknown }[]);
    expect(makeBom(readNpmBom(repository), components, [libc], time)).toEqual(bom);
    expect(bom.serialNumber).toMatch(/^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(makeBom(npm, components, [libc], new Date(0)).serialNumber).not.toBe(bom.serialNumber);
  });

  test.skipIf(!hasSbom)(`is refused if npm's bill of materials lacks a package of it${reason}`, () => {
    const npm = readNpmBom(repository);
    const poor: Bom = { ...npm, components: npm.components.filter(({ name }) => name !== "minimist") };
    expect(() => makeBom(poor, components, [], new Date(0))).toThrow("has no minimist@");
  });
});

test.each([
  [
    "has a licence that is not accepted",
    { version: "1.0.0", license: "AGPL-3.0", integrity: "" },
    "AGPL-3.0",
  ],
  ["is not in the lock file", undefined, "has no node_modules/@a/b"],
])("a package in the bundle that %s is refused", (_, locked, message) => {
  const lock = JSON.stringify({ packages: { ...packages, "node_modules/@a/b": locked } });
  expect(() => findComponents(["../node_modules/@a/b/dist/index.js"], lock)).toThrow(message);
});

describe("an audit", () => {
  const advisory = {
    ...{ title: "Reads beyond the end", url: "https://github.com/advisories/GHSA-aaaa-bbbb-cccc" },
    ...{ severity: "low", range: "<2.0.0" },
  };
  const report: AuditReport = {
    vulnerabilities: {
      a: { name: "a", via: [advisory] },
      b: { name: "b", via: ["a"] },
    },
  };
  const id = "GHSA-aaaa-bbbb-cccc";

  test("with a finding of any severity has a complaint, one for each advisory", () => {
    const { complaints } = judgeAudit(report, {}) as Extract<AuditVerdict, { kind: "asked" }>;
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toContain(id);
  });

  test("with a finding that has an exception has no complaint", () => {
    expect(judgeAudit(report, { [id]: "the function is not called" })).toEqual({
      kind: "asked",
      complaints: [],
    });
  });

  test("without the finding of an exception has a complaint about the exception", () => {
    const { complaints } = judgeAudit({ vulnerabilities: {} }, { [id]: "a reason" }) as Extract<
      AuditVerdict,
      { kind: "asked" }
    >;
    expect(complaints).toHaveLength(1);
  });

  test("that the registry does not answer is not one without findings", () => {
    const refused = { message: "405 Method Not Allowed" };
    expect(judgeAudit(refused, {})).toEqual({ kind: "not asked", why: "405 Method Not Allowed" });
    expect(judgeAudit({ error: { summary: "no route" } }, {})).toEqual({
      kind: "not asked",
      why: "no route",
    });
  });
});
