// Nothing that others have written acts on a terminal, forges a line of a log, or
// reorders what is read: names, files, messages and errors go through the real edges of
// the program, one after the other, with everything in them that could.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeStyle } from "../../src/cli/style.ts";
import { CniError } from "../../src/cni/error.ts";
import { withLog, withLoggedFailures } from "../../src/cni/log.ts";
import type { Request } from "../../src/cni/request.ts";
import type { Verbs } from "../../src/cni/skel.ts";
import { formatMeshEvent } from "../../src/kube/event.ts";
import { planStatus } from "../../src/kube/status-report.ts";
import { AF_UNIX, SOCK_DGRAM, Socket } from "../../src/linux/socket.ts";
import { Store } from "../../src/state/store.ts";
import { plain } from "../../src/telemetry/http.ts";
import { Log, type LogFormat } from "../../src/telemetry/log.ts";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { Notifier } from "../../src/telemetry/sd-notify.ts";
import { call, fullEnv } from "../cni/io.ts";
import { covered } from "../kube/facts.ts";
import { binary } from "../lab/paths.ts";
import { parseExposition, parseSample } from "../telemetry/exposition.ts";
import { makeFacts, scraped } from "../telemetry/facts.ts";
import { run, StateDirectory } from "./terminal.ts";

/** Clears the screen, begins a line, sets a title, turns the order, hides. */
const hostile =
  "n\x1b[2J\x1b[31m\n2026-01-01T00:00:00Z info forged\r\x9b1A\x7f\x00\u202e\u2066\u2028\u200b\ud800";
const raw = /[\p{C}\p{Zl}\p{Zp}]/u;
/** The same, but for the ends of the program's own lines. */
const rawInLines = /(?!\n)[\p{C}\p{Zl}\p{Zp}]/u;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "wg-cni-escaping-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** One line, whole. */
function expectLine(text: string): void {
  expect(text).toEndWith("\n");
  expect(text.slice(0, -1)).not.toMatch(raw);
}

describe("the agent's log", () => {
  const logged = (format: LogFormat) => {
    const lines: string[] = [];
    const log = new Log({ format, level: "info", now: () => "now", write: (line) => lines.push(line) });
    log.warn(hostile, { peer: hostile, bare: "\x1b[2J\x9b", count: 3 });
    log.error("x".repeat(100_000), { reason: "y".repeat(100_000) });
    return lines;
  };

  test.each(["text", "json"] as const)("as %s", (format) => {
    const lines = logged(format);
    expect(lines).toHaveLength(2);
    for (const line of lines) expectLine(line);
    expect(lines[1]?.length).toBeLessThan(5000);
  });

  test("as JSON says what was written", () => {
    expect(JSON.parse(logged("json")[0] as string)).toEqual({
      ...{ time: "now", level: "warn", message: hostile, peer: hostile },
      ...{ bare: "\x1b[2J\x9b", count: 3 },
    });
  });
});

describe("the plugin", () => {
  const stdin = { cniVersion: "1.1.0", name: "pods", type: "wg-cni", prevResult: { cniVersion: "1.1.0" } };
  const fail = (error: Error) =>
    call(fullEnv("ADD"), stdin, {
      add: () => {
        throw error;
      },
    });

  test.each([
    ["its own error", new CniError("io", `Cannot read ${hostile}`, { details: hostile })],
    ["a delegate's error", new CniError({ code: 999 }, hostile, { details: "z".repeat(100_000) })],
    ["a defect", new TypeError(hostile)],
  ])("%s", (_, error) => {
    const { stdout, stderr, json } = fail(error);
    expectLine(stdout);
    expect(stderr).toBe("");
    // A runtime shows what the JSON stands for.
    expect(`${json.msg}${json.details}`).not.toMatch(raw);
    expect(`${json.msg}${json.details}`.length).toBeLessThan(10_000);
  });

  test("a warning", () => {
    const { stderr } = call(fullEnv("ADD"), { ...stdin, [hostile]: 1 });
    for (const line of stderr.trimEnd().split("\n")) expect(line).toStartWith("wg-cni: ");
    expect(stderr).not.toMatch(rawInLines);
  });

  test("plugin.log", () => {
    const request = {
      ...{ command: "ADD", containerID: hostile, ifname: hostile, warn: () => {} },
      conf: { name: hostile, stateDir: directory },
    } as unknown as Request;
    withLog(request).warn(hostile);
    const add = () => {
      throw new Error(hostile);
    };
    expect(() => withLoggedFailures({ add } as unknown as Verbs).add(request)).toThrow();
    const lines = readFileSync(join(directory, "plugin.log"), "utf8").split(/(?<=\n)/);
    expect(lines).toHaveLength(2);
    for (const line of lines) expectLine(line);
  });

  test.each([
    ["CNI_COMMAND", { CNI_COMMAND: "ADD\x1b[2J\nforged\x9b" }],
    ["CNI_CONTAINERID", { CNI_CONTAINERID: "\x1b[2J\nforged\u202e" }],
    ["CNI_IFNAME", { CNI_IFNAME: "\x1b[2J\nfo" }],
    ["CNI_ARGS", { CNI_ARGS: "\x1b[2J\nforged\u2028" }],
  ])("the executable, by %s", (_, variables) => {
    const env = { ...(fullEnv("ADD") as Record<string, string>), ...variables };
    const conf = JSON.stringify({ ...stdin, stateDir: directory });
    const done = Bun.spawnSync([binary], { env, stdin: new TextEncoder().encode(conf) });
    expect(done.exitCode).toBe(1);
    expectLine(done.stdout.toString());
    const { msg, details = "" } = JSON.parse(done.stdout.toString());
    expect(`${msg}${details}`).not.toMatch(raw);
    expect(done.stderr.toString()).not.toMatch(rawInLines);
  });
});

describe("the command line", () => {
  /** A file of the records directory, and why it was rejected. */
  function withRefused(): StateDirectory {
    const state = new StateDirectory();
    using store = Store.open(state.path, "boot");
    store.putRejectedRecords([{ file: hostile, reason: hostile }]);
    return state;
  }

  test("text", async () => {
    using state = withRefused();
    const { stdout } = await run(["peer", "list", ...state.flag]);
    expect(stdout).toContain("forged");
    expect(stdout).not.toMatch(rawInLines);
    expect(stdout.split("\n").filter((line) => line.startsWith("2026"))).toEqual([]);
  });

  test("text in colours has the program's own, and no others", async () => {
    using state = withRefused();
    const { stdout } = await run(["peer", "list", ...state.flag], "", true);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what is looked for
    const own = /\x1b\[(0|1|2|31|32|33)m/g;
    expect(stdout.match(own)?.length).toBeGreaterThan(3);
    expect(stdout.replace(own, "")).not.toMatch(rawInLines);
    expect(stdout).toContain("\\u001b[31m");
  });

  test("a colour cannot be made without the secret", () => {
    const { red, finish } = makeStyle(true, "s3cret");
    const text = finish(`${red("ours")} \x1b[31mtheirs \x1bguess[31m`);
    expect(text).toBe("\x1b[31mours\x1b[0m \\u001b[31mtheirs \\u001bguess[31m");
  });

  test("JSON", async () => {
    using state = withRefused();
    const { stdout } = await run(["peer", "list", "--json", ...state.flag]);
    expect(stdout).not.toMatch(rawInLines);
    expect(JSON.parse(stdout).rejectedRecords[0].file).toBe(hostile.toWellFormed());
  });

  test.each([
    ["an unknown command", [hostile]],
    ["an unknown flag", ["status", `--${hostile}`]],
    ["a wrong value", ["up", "--node", hostile, "--endpoint", hostile]],
    ["an unknown peer", ["peer", "remove", hostile]],
  ])("the error of %s, on both streams", async (_, words) => {
    using state = new StateDirectory();
    const said = await run([...words, ...state.flag]);
    expect(said.exitCode).toBeGreaterThan(0);
    expect(said.stderr).not.toMatch(rawInLines);
    const { stdout } = await run([...words, "--json", ...state.flag]);
    expectLine(stdout);
  });

  test("help on a terminal keeps its colours", async () => {
    const { stdout } = await run(["--help"], "", true);
    expect(stdout).toContain("\x1b[1m");
    expect(stdout.replaceAll("\x1b[", "")).not.toContain("\x1b");
  });
});

describe("what other programs ask for or are told", () => {
  test("metrics keep the format, and labels are escaped as it wants", async () => {
    const facts = {
      ...scraped,
      peers: scraped.peers.map((peer) => ({ ...peer, name: hostile })).slice(0, 1),
    };
    const made = makeFacts(directory, () => facts);
    using metrics = new Metrics(made.facts, made.log);
    const text = new TextDecoder().decode(await metrics.scrape());
    expect(text).not.toMatch(rawInLines);
    const samples = [...(parseExposition(text).get("wg_cni_peer_state")?.samples.keys() ?? [])];
    expect(parseSample(samples[0] as string).labels["peer"]).toContain("\\u001b[2J");
  });

  test("a page", () => {
    expectLine(plain(503, hostile).body as string);
  });

  test("an event and a condition", () => {
    expect(formatMeshEvent("n1", hostile, 0).note).not.toMatch(raw);
    const status = planStatus(
      {
        ...{ ...covered, up: true, mode: "permissive", peers: 1, keyCreatedAtMs: 0 },
        ...{
          unencrypted: [hostile],
          silent: [hostile],
          unknownPods: [hostile],
          refusedCIDRs: [hostile],
          transit: [hostile],
          refusedSources: [hostile],
          lossy: [hostile],
        },
      },
      () => false,
      undefined,
      0,
    );
    for (const { message } of status?.conditions ?? []) expect(message).not.toMatch(raw);
  });

  test("the service manager, who would take a line for a variable", () => {
    const path = join(directory, "notify");
    using socket = Socket.open(AF_UNIX, SOCK_DGRAM, 0, "a service manager's socket");
    socket.setTimeLimit(10);
    socket.bind(new Uint8Array([AF_UNIX, 0, ...new TextEncoder().encode(path), 0]));
    new Notifier(path).send("READY=1", `STATUS=${hostile}\nMAINPID=1`);
    const buffer = new Uint8Array(4096);
    const lines = new TextDecoder().decode(buffer.subarray(0, socket.receive(buffer))).split("\n");
    expect(lines).toHaveLength(2);
    expect(lines[1]).not.toMatch(raw);
  });
});
