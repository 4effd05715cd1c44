// Variables by which a Bun executable shows what it sends, believes other authorities, or sends what nobody asked for.
// Each attempt is first tried on an executable that the same compiler makes without our precautions.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fullEnv } from "../cni/io.ts";
import { binary, repository } from "../lab/paths.ts";
import { waitUntil } from "../lab/wait.ts";
import { FakeApi } from "../sources/fake-api.ts";

setDefaultTimeout(60_000);

const { PATH = "" } = process.env;
/** read(2), of descriptor 0. */
const reads = `${process.arch === "arm64" ? 63 : 0} 0x0 `;

describe("the built executable", () => {
  let directory: string;
  let control: string;
  let api: FakeApi;
  /** A kubeconfig whose authority is not the server's. */
  let deceived: string;

  beforeAll(async () => {
    api = await FakeApi.start();
    directory = mkdtempSync(join(repository, "node_modules", ".wg-cni-test-"));
    control = join(directory, "control");
    const source = `
      if (process.argv[2] === undefined) require("node:fs").readSync(0, Buffer.alloc(1));
      else console.log((await fetch(process.argv[2], { headers: { authorization: "Bearer ${api.token}" } })).status);`;
    writeFileSync(join(directory, "control.ts"), source);
    const build = [join(repository, "scripts/bun"), "build", "--compile", "control.ts", "--outfile", control];
    const done = Bun.spawnSync(build, { cwd: directory, stdout: "pipe", stderr: "pipe" });
    if (done.exitCode !== 0) throw new Error(`${done.stderr}${done.stdout}`);
    await using other = await FakeApi.start();
    deceived = join(directory, "kubeconfig");
    writeFileSync(join(directory, "ca.crt"), readFileSync(other.caFile));
    const text = readFileSync(api.kubeconfig, "utf8");
    writeFileSync(deceived, text.replaceAll(api.caFile, join(directory, "ca.crt")));
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  /** All that a command says, while the server of this process answers. */
  async function said(command: string[], env: Record<string, string>): Promise<string> {
    const child = Bun.spawn(command, {
      ...{ cwd: directory, env: { PATH, ...env } },
      ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return stdout + stderr;
  }
  const rollout = (kubeconfig: string, env: Record<string, string>) =>
    said([binary, "rollout", "--kubeconfig", kubeconfig], env);

  test.each(["curl", "1"])(
    "ignores BUN_CONFIG_VERBOSE_FETCH=%s, with which it would print requests and tokens",
    async (value) => {
      const env = { BUN_CONFIG_VERBOSE_FETCH: value };
      const shown = await said([control, api.url], { ...env, NODE_TLS_REJECT_UNAUTHORIZED: "0" });
      expect(shown).toContain("GET https");
      const before = api.seen.length;
      const text = await rollout(api.kubeconfig, env);
      expect(api.seen.slice(before).map(({ token }) => token)).toContain(api.token);
      expect(text).not.toContain("GET https");
      expect(text).not.toContain(api.token);
    },
  );

  test("believes no authority but the kubeconfig's, whatever the environment names", async () => {
    const trust: Record<string, string>[] = [
      { NODE_TLS_REJECT_UNAUTHORIZED: "0" },
      { NODE_EXTRA_CA_CERTS: api.caFile },
      { NODE_USE_SYSTEM_CA: "1", SSL_CERT_FILE: api.caFile },
    ];
    for (const env of trust) {
      expect((await said([control, api.url], env)).trim()).toMatch(/^\d+$/m);
      const before = api.seen.length;
      expect(await rollout(deceived, env)).toContain("certificate");
      expect(api.seen.length).toBe(before);
    }
  });

  test("writes no keys of sessions and no temporary files", async () => {
    const temporary = join(directory, "temporary");
    mkdirSync(temporary);
    const env = { SSLKEYLOGFILE: join(temporary, "keys"), TMPDIR: temporary, BUN_TMPDIR: temporary };
    const before = api.seen.length;
    await rollout(api.kubeconfig, env);
    expect(api.seen.length).toBeGreaterThan(before);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test("ignores BUN_CRASH_REPORT_URL, to which it would send a report if a signal ends it", async () => {
    const reports: string[] = [];
    const server = Bun.serve({
      ...{ port: 0, hostname: "127.0.0.1" },
      fetch: ({ url }) => new Response(String(reports.push(new URL(url).pathname.split("/")[1] as string))),
    });
    const crash = async (name: string, command: string, more: Record<string, string>) => {
      const child = Bun.spawn([command], {
        env: {
          PATH,
          BUN_CRASH_REPORT_URL: `${server.url.origin}/${name}`,
          BUN_ENABLE_CRASH_REPORTING: "1",
          ...more,
        },
        ...{ cwd: directory, stdin: "pipe", stdout: "ignore", stderr: "ignore" },
      });
      const isReading = () => readFileSync(`/proc/${child.pid}/syscall`, "utf8").startsWith(reads);
      await waitUntil(isReading, { what: `${command} reads its input` });
      child.kill("SIGSEGV");
      await child.exited;
    };
    try {
      await crash("product", binary, fullEnv("ADD") as Record<string, string>);
      // The controls come later: when their reports are here, one that was sent before them would be, too.
      for (const name of ["first", "second", "third"]) {
        await crash(name, control, {});
        await waitUntil(() => reports.includes(name), { what: `the report of the ${name} control` });
      }
      expect(reports).toEqual(["first", "second", "third"]);
    } finally {
      await server.stop(true);
    }
  });
});
