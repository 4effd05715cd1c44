// Throwaway network namespaces and the Debian tools that serve as witnesses.
// Nothing here touches the host's own links, routes or rules.
import { describe, test } from "bun:test";

/** Why kernel tests cannot run here, or undefined if they can. */
function findObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root, to make network namespaces";
  const probe = Bun.spawnSync(["unshare", "-n", "ip", "-j", "link"]);
  if (!probe.success) return `cannot make a network namespace: ${probe.stderr.toString().trim()}`;
  return undefined;
}

/** As `describe`; skipped with a reason where the kernel cannot be tested, which REQUIRE_KERNEL=1 makes a failure. */
export function describeKernel(name: string, body: () => void, obstacle = findObstacle()): void {
  if (obstacle === undefined) describe(name, body);
  else if (process.env["REQUIRE_KERNEL"] === "1")
    test(name, () => {
      throw new Error(`REQUIRE_KERNEL=1, but ${obstacle}`);
    });
  else test.skip(`${name} (skipped: ${obstacle})`, () => {});
}

const made = new Set<string>();
let count = 0;

/** Removes the namespaces that were made: for `afterAll` of every file that makes some. */
export function removeNamespaces(): void {
  for (const name of made) Bun.spawnSync(["ip", "netns", "delete", name]);
  made.clear();
}

export class Namespace {
  readonly name = `wgt-${process.pid}-${++count}`;
  readonly path = `/run/netns/${this.name}`;

  constructor() {
    run(["ip", "netns", "add", this.name]);
    made.add(this.name);
  }

  /** Runs ip(8) in the namespace. Throws if it fails. */
  ip(command: string): string {
    return run(["ip", "-n", this.name, ...command.split(" ")]);
  }

  /** Returns the output of `ip -j COMMAND` there. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape is ip(8)'s, and tests look at parts of it
  json(command: string): any[] {
    return JSON.parse(run(["ip", "-j", "-n", this.name, ...command.split(" ")]) || "[]");
  }

  /** Everything that ip(8) shows there, to see whether something has changed. */
  picture(): string {
    const what = [
      "link",
      "addr",
      "route show table all",
      "-6 route show table all",
      "rule",
      "-6 rule",
      "neigh",
    ];
    return what.map((command) => this.ip(command)).join("\n");
  }
}

/** Runs a program to its end and returns what it printed. Throws if it fails. */
export function run(command: string[], options: { env?: Record<string, string> } = {}): string {
  const done = Bun.spawnSync(command, { ...options, stdout: "pipe", stderr: "pipe" });
  if (!done.success) throw new Error(`${command.join(" ")}: ${done.stderr}${done.stdout}`);
  return done.stdout.toString();
}
