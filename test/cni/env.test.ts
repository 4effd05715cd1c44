// The environment table: what each verb needs, and which values it takes.
import { describe, expect, test } from "bun:test";
import { ifnameFault, isCniName, parseEnv } from "../../src/cni/env.ts";
import { CniError } from "../../src/cni/error.ts";
import { fullEnv } from "./io.ts";

function errorOf(parse: () => unknown): CniError {
  try {
    parse();
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("required variables", () => {
  const missing: readonly [string, string][] = [
    ["ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"],
    ["CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"],
    ["DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"],
    ["STATUS", "CNI_PATH"],
    ["GC", "CNI_PATH"],
  ];
  for (const [command, names] of missing)
    test(`${command} names all that are missing, in the table's order`, () => {
      const error = errorOf(() => parseEnv({ CNI_COMMAND: command }));
      expect([error.code, error.message]).toEqual([4, `required env variables [${names}] missing`]);
    });

  test("VERSION and unknown verbs need nothing else", () => {
    expect(parseEnv({ CNI_COMMAND: "VERSION" }).command).toBe("VERSION");
    expect(parseEnv({ CNI_COMMAND: "FROB" }).command).toBe("FROB");
  });

  test("an empty variable is a missing one", () => {
    expect(errorOf(() => parseEnv(fullEnv("ADD", { CNI_NETNS: "" }))).message).toContain("[CNI_NETNS]");
    expect(parseEnv(fullEnv("DEL", { CNI_NETNS: "" })).netns).toBe("");
  });

  test("wrong characters are reported before what is missing", () => {
    const error = errorOf(() => parseEnv({ CNI_COMMAND: "ADD", CNI_CONTAINERID: "-x" }));
    expect([error.code, error.message, error.details]).toEqual([
      4,
      "invalid characters in containerID",
      "-x",
    ]);
  });

  test("values of verbs that do not use them are not looked at: runtimes send dummies", () => {
    expect(parseEnv(fullEnv("STATUS", { CNI_CONTAINERID: "../x", CNI_IFNAME: "a b" })).command).toBe(
      "STATUS",
    );
  });
});

describe("values", () => {
  const names: readonly [string, boolean][] = [
    ["a", true],
    ["0", true],
    ["a_b.c-d", true],
    ["f".repeat(64), true],
    ["", false],
    ["_a", false],
    [".a", false],
    ["-a", false],
    ["a/b", false],
    ["a b", false],
    ["a\n", false],
    ["ä", false],
  ];
  for (const [name, valid] of names)
    test(`${JSON.stringify(name)} is ${valid ? "a" : "no"} container ID or network name`, () => {
      expect(isCniName(name)).toBe(valid);
      expect(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name) && !name.includes("\n")).toBe(valid);
    });

  const faults: readonly [string, string | undefined][] = [
    ["eth0", undefined],
    ["abcdefghijklmno", undefined],
    ["abcdefghijklmnop", "interface name is too long"],
    ["éééééééé", "interface name is too long"],
    ["é", undefined],
    [".", "interface name is . or .."],
    ["..", "interface name is . or .."],
    ["...", undefined],
    ["a/b", "interface name contains / or : or whitespace characters"],
    ["a:b", "interface name contains / or : or whitespace characters"],
    ["a b", "interface name contains / or : or whitespace characters"],
    ["a\u0085", "interface name contains / or : or whitespace characters"],
    ["a\u00a0", "interface name contains / or : or whitespace characters"],
  ];
  for (const [name, msg] of faults)
    test(`interface name ${JSON.stringify(name)}`, () => expect(ifnameFault(name)?.msg).toBe(msg as string));

  test("CNI_PATH is a list; empty entries are not the working directory", () => {
    expect(parseEnv(fullEnv("ADD", { CNI_PATH: "/a::/b:" })).path).toEqual(["/a", "/b"]);
  });

  test("CNI_NETNS_OVERRIDE takes 1 and true", () => {
    const override = (value: string) => parseEnv(fullEnv("ADD", { CNI_NETNS_OVERRIDE: value })).netnsOverride;
    expect(["1", "true", "TRUE", "True", "", "0", "yes"].map(override)).toEqual([
      true,
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});
