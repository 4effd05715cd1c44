// Help and complaints about the words: every command and flag explains itself,
// and what is not known is answered with what was probably meant.
import { describe, expect, test } from "bun:test";
import { commands } from "../../src/cli/commands.ts";
import { settingNames } from "../../src/plan/settings/settings.ts";
import { expectGolden } from "./golden.ts";
import { run, StateDirectory } from "./terminal.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what is looked for
const escapes = /\x1b/;

describe("help", () => {
  test("the overview lists every command and the exit codes", async () => {
    const { exitCode, stdout, stderr } = await run(["--help"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    for (const { name, summary } of commands) {
      expect(stdout).toContain(`  ${name}`);
      expect(stdout).toContain(summary);
    }
    expectGolden("overview", stdout);
    for (const words of [[], ["help"], ["-h"]]) expect((await run(words)).stdout).toBe(stdout);
  });

  test.each(commands.map(({ name }) => name))("%s --help", async (name) => {
    const { exitCode, stdout, stderr } = await run([...name.split(" "), "--help"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toContain(`Usage  wg-cni ${name}`);
    for (const flag of ["--json", "--help", "--state-dir DIR"]) expect(stdout).toContain(flag);
    expect(stdout).not.toMatch(/undefined|\[object|NaN|[ \t]$/m);
    expectGolden(name.replace(" ", "-"), stdout);
  });

  test("every setting is a flag of up, with its default", async () => {
    const { stdout } = await run(["up", "--help"]);
    expect(stdout.match(/^ {2}--/gm)).toHaveLength(settingNames.length + 5 + 3);
    for (const line of stdout.split("\n").filter((text) => /^ {2}--(device|port|mtu|mode)/.test(text)))
      expect(line).toMatch(/\(default .+\)$/);
  });

  test("colours on a terminal, none elsewhere", async () => {
    expect((await run(["--help"], "", true)).stdout).toMatch(escapes);
    for (const { name } of commands)
      expect((await run([...name.split(" "), "--help"])).stdout).not.toMatch(escapes);
  });

  test("the version", async () => {
    expect((await run(["version"])).stdout).toBe("wg-cni 1.2.3\n");
    expect((await run(["--version"])).stdout).toBe("wg-cni 1.2.3\n");
    expect(JSON.parse((await run(["version", "--json"])).stdout)).toEqual({ version: "1.2.3" });
  });
});

describe("words that are not known", () => {
  const complaints: readonly [words: string, says: string][] = [
    ["staus", `there is no command "staus"; did you mean "status"?`],
    ["peer improt x", `there is no command "peer improt"; did you mean "peer import"?`],
    ["peer", `"wg-cni peer" needs one more word: peer import, peer list, peer remove, peer release`],
    ["frobnicate", `there is no command "frobnicate"; see "wg-cni --help"`],
    ["up --endpont 192.0.2.1", `there is no flag "--endpont"; did you mean --endpoint?`],
    ["up --pod-tabel 4", `there is no flag "--pod-tabel"; did you mean --pod-table?`],
    ["sync --jsno", `there is no flag "--jsno"; did you mean --json?`],
    ["sync --frobnicate=7", `there is no flag "--frobnicate"`],
    ["sync now", `"now" is one argument too many for sync`],
    ["peer import a b", `"b" is one argument too many for peer import`],
    ["peer import", "peer import needs a file, or - for standard input"],
    ["peer remove", "peer remove needs the peer's name"],
    ["up --mtu", "--mtu needs a value: --mtu BYTES"],
    ["up --mtu 1400 --mtu 1300", "--mtu may be given only once"],
  ];

  test.each(complaints)("%s", async (words, says) => {
    using directory = new StateDirectory();
    const { exitCode, stdout, stderr } = await run([...words.split(" "), ...directory.flag]);
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 2, stdout: "", stderr: `wg-cni: ${says}\n` });
  });

  test("with --json a complaint is JSON too, on standard output", async () => {
    const { exitCode, stdout, stderr } = await run(["staus", "--json"]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: "" });
    expect(JSON.parse(stdout)).toEqual({ error: `there is no command "staus"; did you mean "status"?` });
  });

  const values: readonly [words: string, says: RegExp][] = [
    ["--mode strikt", /--mode: mode: "strikt" must be off, permissive or strict/],
    ["--fwmark 0x1/0x2", /--fwmark: .* a mask of two bits/],
    ["--pod-table 254", /--pod-table: .* 253, 254 or 255/],
    ["--pod-table 18098", /hostTable and podTable must differ/],
    ["--port-a 70000", /--port-a: .* from 1 to 65535/],
    ["--device-a name-with-16-chars", /--device-a: .* 1 to 15 characters/],
    ["--mtu 100", /--mtu: .* at least 576/],
    ["--cluster-cidrs 10.0.0.0/33", /--cluster-cidrs: .*10\.0\.0\.0\/33/],
    ["--seal-key-file seal.key", /--seal-key-file: .* absolute path/],
    ["--endpoint 192.0.2.300", /--endpoint: .*192\.0\.2\.300/],
    ["--endpoint 127.0.0.1", /--endpoint: 127\.0\.0\.1 is a loopback address/],
    ["--endpoint 192.0.2.1:65535", /--endpoint: 65535 is not a port/],
    ["--pod-cidr 10.244.1.1/24", /host bits set; did you mean 10\.244\.1\.0\/24\?/],
    ["--node Node_1", /--node: "Node_1" is not a node name/],
  ];

  test.each(values)("up %s", async (words, says) => {
    using directory = new StateDirectory();
    const given = words.includes("--endpoint") ? [] : ["--endpoint", "192.0.2.1"];
    const { exitCode, stderr } = await run(["up", ...given, ...words.split(" "), ...directory.flag]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(says);
    expect((await run(["status", "--json", ...directory.flag])).stdout).toBe('{\n  "up": false\n}\n');
  });
});
