// A root plugin runs only the code in its file: nothing in the environment or
// the working directory changes it. Each attempt is first tried on an
// executable that the same compiler makes without our precautions, which shows
// that the attempt is one. Also that builds are reproducible, and for arm64.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { binary, repository } from "../lab/paths.ts";

const bun = join(repository, "scripts/bun");
const buildTimeoutMs = 240_000;
const runTimeoutMs = 20_000;
/** Time enough for a debugger to be listened for; nobody connects. */
const waitingMs = 2500;

describe("the built executable", () => {
  let directory: string;
  let control: string;
  let ran: string;

  beforeAll(() => {
    if (!existsSync(binary)) throw new Error(`${binary} is missing: run \`npm run build\``);
    // Beside the build's own temporary directories: it moves its result with rename(2).
    directory = mkdtempSync(join(repository, "node_modules", ".wg-cni-test-"));
    ran = join(directory, "ran");
    writeFileSync(
      join(directory, "intruder.cjs"),
      `require("node:fs").writeFileSync(${JSON.stringify(ran)}, "");`,
    );
    writeFileSync(
      join(directory, "control.ts"),
      'console.log(process.env["CNI_COMMAND"] ?? "as it should be");',
    );
    control = join(directory, "control");
    build(["build", "--compile", "control.ts", "--outfile", control]);
  }, buildTimeoutMs);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** Runs an executable; true if the intruder ran too. */
  function run(command: string[], env: Record<string, string> = {}, cwd = directory, timeout = runTimeoutMs) {
    rmSync(ran, { force: true });
    const { PATH = "" } = process.env;
    const done = Bun.spawnSync(command, {
      cwd,
      env: { PATH, ...env },
      stdin: "ignore",
      stderr: "pipe",
      timeout,
      killSignal: "SIGKILL",
    });
    return {
      stdout: done.stdout.toString(),
      stderr: done.stderr.toString(),
      late: done.exitedDueToTimeout === true,
      intruded: existsSync(ran),
    };
  }

  function build(args: string[]): void {
    const done = Bun.spawnSync([bun, ...args], { cwd: directory, stdout: "pipe", stderr: "pipe" });
    if (done.exitCode !== 0) throw new Error(`${done.stderr}${done.stdout}`);
  }

  const product = (env: Record<string, string>, cwd?: string) => run([binary, "version"], env, cwd);
  const plugin = (env: Record<string, string>, cwd?: string) =>
    run([binary], { CNI_COMMAND: "VERSION", ...env }, cwd);

  function expectUnmoved(env: Record<string, string>, cwd?: string): void {
    expect(product(env, cwd)).toEqual({
      stdout: expect.stringMatching(/^wg-cni \d/),
      stderr: "",
      late: false,
      intruded: false,
    });
    const asPlugin = plugin(env, cwd);
    expect(asPlugin).toMatchObject({ late: false, intruded: false });
    expect(JSON.parse(asPlugin.stdout).cniVersion).toBe("1.1.0");
  }

  test("ignores BUN_OPTIONS", () => {
    const env = { BUN_OPTIONS: `--preload ${directory}/intruder.cjs` };
    expect(run([control], env).intruded).toBe(true);
    expectUnmoved(env);
    expectUnmoved({ BUN_OPTIONS: `--eval process.exit(9)` });
  });

  test("ignores BUN_BE_BUN", () => {
    const env = { BUN_BE_BUN: "1" };
    expect(run([control, "--version"], env).stdout.trim()).toBe(Bun.version);
    expectUnmoved(env);
    expect(run([binary, "-e", `require("${directory}/intruder.cjs")`], env).intruded).toBe(false);
  });

  test("ignores BUN_INSPECT", () => {
    const socket = join(directory, "inspect");
    const env = { BUN_INSPECT: `ws+unix://${socket}?wait=1` };
    expect(run([control], env, directory, waitingMs).late).toBe(true);
    expect(existsSync(socket)).toBe(true);
    rmSync(socket);
    expectUnmoved(env);
    expectUnmoved({
      ...env,
      BUN_INSPECT_PRELOAD: `${directory}/intruder.cjs`,
      BUN_INSPECT_NOTIFY: env.BUN_INSPECT,
    });
    expect(existsSync(socket)).toBe(false);
  });

  test("ignores BUN_JSC_*, with which its engine would not start or not work", () => {
    for (const [name, value] of [
      ["BUN_JSC_noSuchOption", "1"],
      ["BUN_JSC_useJIT", "0"],
      ["BUN_JSC_useJIT", "maybe"],
      ["BUN_JSC_", ""],
    ] as const) {
      const env = { [name]: value };
      if (name !== "BUN_JSC_useJIT" || value !== "0") expect(run([control], env).stdout).toBe("");
      expectUnmoved(env);
    }
    expect(run([control], { BUN_JSC_logGC: "2" }).stderr).toContain("GC");
    expect(run([binary, "version"], { BUN_JSC_logGC: "2" }).stderr).toBe("");
  });

  test("ignores BUN_BYTECODE_*, with which it would write a file at its end", () => {
    const file = join(directory, "order");
    for (const name of [
      "BUN_BYTECODE_ORDER_OUT",
      "BUN_BYTECODE_ORDER_NAMES_OUT",
      "BUN_BYTECODE_DIGEST_OUT",
    ]) {
      const env = { [name]: file, BUN_BYTECODE_ORDER_OUT: file };
      run([control], env);
      expect(existsSync(file)).toBe(true);
      rmSync(file);
      expectUnmoved(env);
      expect(existsSync(file)).toBe(false);
    }
  });

  test("ignores NODE_OPTIONS, as Bun does", () => {
    const env = { NODE_OPTIONS: `--require ${directory}/intruder.cjs` };
    expect(run([control], env).intruded).toBe(false);
    expectUnmoved(env);
  });

  test("ignores bunfig.toml, of the working directory and of the user", () => {
    const cwd = join(directory, "bunfig");
    mkdirSync(cwd);
    const text = `preload = ["${directory}/intruder.cjs"]\n[run]\npreload = ["${directory}/intruder.cjs"]\n`;
    writeFileSync(join(cwd, "bunfig.toml"), text);
    writeFileSync(join(cwd, ".bunfig.toml"), text);
    expect(run([control], {}, cwd).intruded).toBe(true);
    expectUnmoved({}, cwd);
    expectUnmoved({ HOME: cwd, XDG_CONFIG_HOME: cwd }, directory);
  });

  test("ignores .env", () => {
    const cwd = join(directory, "dotenv");
    mkdirSync(cwd);
    writeFileSync(join(cwd, ".env"), "CNI_COMMAND=VERSION\n");
    expect(run([control], {}, cwd).stdout).toBe("VERSION\n");
    expect(product({}, cwd).stdout).toStartWith("wg-cni ");
    expect(product({ NODE_ENV: "production" }, cwd).stdout).toStartWith("wg-cni ");
  });

  test("ignores tsconfig.json and package.json", () => {
    const cwd = join(directory, "project");
    mkdirSync(cwd);
    const paths = { "bun:sqlite": [`${directory}/intruder.cjs`], "*": [`${directory}/intruder.cjs`] };
    writeFileSync(join(cwd, "tsconfig.json"), JSON.stringify({ compilerOptions: { paths } }));
    writeFileSync(
      join(cwd, "package.json"),
      JSON.stringify({ main: `${directory}/intruder.cjs`, imports: paths }),
    );
    expectUnmoved({}, cwd);
  });

  test("takes --preload and its like for arguments of its own", () => {
    for (const flag of ["--preload", "-r", "--require", "--import", "-e", "--config"])
      for (const args of [
        [flag, `${directory}/intruder.cjs`, "version"],
        [`${flag}=${directory}/intruder.cjs`, "version"],
      ])
        expect(run([binary, ...args]).intruded).toBe(false);
  });
});

describe("the build", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(repository, "node_modules", ".wg-cni-test-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  function build(name: string, ...args: string[]): Buffer {
    const out = join(directory, name);
    const done = Bun.spawnSync([bun, "scripts/build.ts", "--out", out, ...args], {
      cwd: repository,
      stderr: "pipe",
    });
    if (done.exitCode !== 0) throw new Error(done.stderr.toString());
    const bytes = readFileSync(out);
    rmSync(out);
    return bytes;
  }
  const sha256 = (bytes: Buffer) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  const own = process.arch === "arm64" ? "arm64" : "x64";

  /** elf(5): class 64 bits, little endian, and e_machine. */
  function machineOf(bytes: Buffer): number {
    expect(bytes.subarray(0, 6).toString("latin1")).toBe("\x7fELF\x02\x01");
    return bytes.readUInt16LE(18);
  }

  const machines = { x64: 62, arm64: 183 } as const;
  const hidden = ["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT", "BUN_BYTECODE"];

  test(
    "gives the same bytes twice, and under another name",
    () => {
      const first = build("first");
      expect(sha256(build("second"))).toBe(sha256(first));
      expect(machineOf(first)).toBe(machines[own]);
      for (const name of hidden) expect(first.includes(name)).toBe(false);
    },
    buildTimeoutMs,
  );

  test(
    "gives an executable for arm64",
    () => {
      const bytes = build("arm64", "--arch", "arm64");
      expect(machineOf(bytes)).toBe(machines.arm64);
      for (const name of hidden) expect(bytes.includes(name)).toBe(false);
    },
    buildTimeoutMs,
  );

  test("refuses an architecture it does not know", () => {
    expect(() => build("other", "--arch", "riscv64")).toThrow('unknown --arch "riscv64": x64 or arm64');
  });
});
