// The protocol: order of checks, answers, exit codes, and that nothing thrown
// gets past it.
import { describe, expect, test } from "bun:test";
import { CniError } from "../../src/cni/error.ts";
import { call, fullEnv } from "./io.ts";

const chained = { cniVersion: "1.1.0", name: "n1", type: "wg-cni", prevResult: { cniVersion: "1.1.0" } };

describe("verbs", () => {
  for (const verb of ["ADD", "DEL", "CHECK", "STATUS", "GC"])
    test(`${verb} runs its verb and nothing else`, () => {
      const answer = call(fullEnv(verb), chained);
      expect(answer).toMatchObject({ exitCode: 0, calls: [verb.toLowerCase()], stderr: "" });
      expect(answer.stdout).toBe(verb === "ADD" ? "{}\n" : "");
    });

  test("VERSION reads no stdin", () => {
    const answer = call(
      { CNI_COMMAND: "VERSION" },
      "",
      {},
      {
        readStdin: () => {
          throw new Error("stdin was read");
        },
      },
    );
    expect(answer).toMatchObject({ exitCode: 0, calls: [] });
    expect(answer.json).toEqual({
      cniVersion: "1.1.0",
      supportedVersions: ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    });
  });

  test("a verb's failure is JSON on stdout, in the caller's version, exit code 1", () => {
    const answer = call(
      fullEnv("ADD"),
      { ...chained, cniVersion: "0.4.0" },
      {
        add: () => {
          throw new CniError("exists", "eth0 exists", { details: "d" });
        },
      },
    );
    expect(answer).toMatchObject({ exitCode: 1, stderr: "" });
    expect(answer.json).toEqual({ cniVersion: "0.4.0", code: 103, msg: "eth0 exists", details: "d" });
  });

  test("whatever is thrown is answered", () => {
    for (const thrown of [new TypeError("x is undefined"), "text", undefined, null, 5]) {
      const answer = call(fullEnv("DEL"), chained, {
        del: () => {
          throw thrown;
        },
      });
      expect(answer).toMatchObject({ exitCode: 1, json: { code: 100 } });
      expect(answer.json.details).toBeUndefined();
    }
  });

  test("warnings go to stderr, one line each", () => {
    expect(call(fullEnv("ADD"), { ...chained, frob: 1, foo: 2 }).stderr).toBe(
      'wg-cni: Ignored the unknown key "frob"\nwg-cni: Ignored the unknown key "foo"\n',
    );
  });

  test("with stdout gone the error goes to stderr", () => {
    const answer = call(
      fullEnv("ADD"),
      chained,
      {},
      {
        stdout: () => {
          throw new Error("EPIPE");
        },
      },
    );
    expect(answer.exitCode).toBe(1);
    expect(answer.stderr).toContain("EPIPE");
  });
});

describe("order of checks", () => {
  const steps: readonly [string, Record<string, string | undefined>, unknown, number, string][] = [
    ["environment before stdin", { CNI_PATH: "" }, "nope", 4, "required env variables [CNI_PATH] missing"],
    ["JSON before name", {}, "nope", 6, "Cannot decode"],
    ["name before version", {}, { cniVersion: "9.9.9" }, 7, "missing network name"],
    [
      "version before the rest",
      {},
      { name: "a", cniVersion: "9.9.9", mtu: "x" },
      1,
      "incompatible CNI versions",
    ],
    ["CNI_ARGS before the rest", { CNI_ARGS: "A" }, { ...chained, mtu: "x" }, 4, "CNI_ARGS"],
    ["the rest before the verb", {}, { ...chained, mtu: "x" }, 7, "mtu"],
  ];
  for (const [title, env, stdin, code, msg] of steps)
    test(title, () => {
      const answer = call(fullEnv("ADD", env), stdin);
      expect(answer).toMatchObject({
        exitCode: 1,
        calls: [],
        json: { code, msg: expect.stringContaining(msg) },
      });
    });

  test("an unknown verb is known to be one after the configuration was good", () => {
    expect(call(fullEnv("FROB"), "nope").json.code).toBe(6);
    expect(call(fullEnv("FROB"), chained).json).toMatchObject({ code: 4, msg: "unknown CNI_COMMAND: FROB" });
  });

  test("the error's version is the caller's if we support it, else our newest", () => {
    expect(call(fullEnv("ADD"), { name: "a", cniVersion: "9.9.9" }).json.cniVersion).toBe("1.1.0");
    expect(call(fullEnv("ADD"), "nope").json.cniVersion).toBe("1.1.0");
  });
});

describe("verbs of later versions", () => {
  const cases: readonly [string, string, boolean][] = [
    ["CHECK", "0.3.1", false],
    ["CHECK", "0.4.0", true],
    ["STATUS", "1.0.0", false],
    ["STATUS", "1.1.0", true],
    ["GC", "1.0.0", false],
    ["GC", "1.1.0", true],
    ["ADD", "0.1.0", true],
    ["DEL", "0.1.0", true],
  ];
  for (const [verb, cniVersion, allowed] of cases)
    test(`${verb} at ${cniVersion}`, () => {
      const answer = call(fullEnv(verb), { ...chained, cniVersion, prevResult: {} });
      if (allowed) expect(answer.calls).toEqual([verb.toLowerCase()]);
      else expect(answer.json).toMatchObject({ code: 1, msg: `config version does not allow ${verb}` });
    });
});

describe("stdin", () => {
  const mebibyte = 1024 * 1024;

  test("1 MiB is taken, a byte more is refused (5)", () => {
    const padded = (size: number) => {
      const text = JSON.stringify(chained);
      return text + " ".repeat(size - text.length);
    };
    expect(call(fullEnv("ADD"), padded(mebibyte)).exitCode).toBe(0);
    expect(call(fullEnv("ADD"), padded(mebibyte + 1)).json).toMatchObject({
      code: 5,
      msg: expect.stringContaining("1024 KiB"),
    });
  });

  test("a failing read is answered", () => {
    const answer = call(
      fullEnv("ADD"),
      "",
      {},
      {
        readStdin: () => {
          throw Object.assign(new Error("Cannot read descriptor 0: EIO"), { name: "SysError" });
        },
      },
    );
    expect(answer.json).toMatchObject({ code: 5, msg: expect.stringContaining("EIO") });
  });

  test("random bytes are refused with 6, never with a crash", () => {
    for (let i = 0; i < 200; i++) {
      const bytes = crypto.getRandomValues(new Uint8Array(i + 1));
      expect(call(fullEnv("ADD"), bytes)).toMatchObject({ exitCode: 1, calls: [], json: { code: 6 } });
    }
  });

  test("a prevResult nested too deep to print is an error, not a crash", () => {
    const deep = `{"cniVersion":"1.1.0","name":"n","prevResult":{"x":${"[".repeat(400_000)}${"]".repeat(400_000)}}}`;
    const answer = call(fullEnv("ADD"), deep, { add: ({ conf }) => JSON.stringify(conf.prevResult?.json) });
    expect([0, 1]).toContain(answer.exitCode);
  });
});

describe("the caller's own network namespace", () => {
  const own = { isOwnNetns: (path: string) => path === "/own" };

  test("ADD is refused (8) before anything is changed, DEL after its work", () => {
    const add = call(fullEnv("ADD", { CNI_NETNS: "/own" }), chained, {}, own);
    expect(add).toMatchObject({
      exitCode: 1,
      calls: [],
      json: { code: 8, msg: "plugin's netns and netns from CNI_NETNS should not be the same" },
    });
    const del = call(fullEnv("DEL", { CNI_NETNS: "/own" }), chained, {}, own);
    expect(del).toMatchObject({ exitCode: 1, calls: ["del"], json: { code: 8 } });
  });

  test("CNI_NETNS_OVERRIDE allows it; an empty or another namespace is fine", () => {
    for (const env of [{ CNI_NETNS: "/own", CNI_NETNS_OVERRIDE: "true" }, { CNI_NETNS: "/other" }])
      for (const verb of ["ADD", "DEL"]) expect(call(fullEnv(verb, env), chained, {}, own).exitCode).toBe(0);
    expect(call(fullEnv("DEL", { CNI_NETNS: "" }), chained, {}, own).exitCode).toBe(0);
  });
});

describe("DEL does its work whatever else is wrong", () => {
  test("CNI_ARGS that ADD would refuse", () => {
    const answer = call(fullEnv("DEL", { CNI_ARGS: "A" }), chained);
    expect(answer).toMatchObject({ exitCode: 0, calls: ["del"] });
    expect(answer.stderr).toContain("CNI_ARGS");
  });

  test("values that ADD would refuse", () => {
    expect(call(fullEnv("DEL"), { ...chained, mtu: "x", prevResult: 5 })).toMatchObject({
      exitCode: 0,
      calls: ["del"],
    });
  });

  test("STATUS and GC do not look at CNI_ARGS", () => {
    for (const verb of ["STATUS", "GC"])
      expect(call(fullEnv(verb, { CNI_ARGS: "dummy" }), chained).exitCode).toBe(0);
  });
});
