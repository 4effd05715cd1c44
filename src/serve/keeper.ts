// Keeps the plugin server of an agent running. It ends with the agent, however the agent ends, because
// its standard input does. While there is none, plugin processes do their calls themselves.
import { Backoff } from "../net/backoff.ts";
import { messageOf } from "../net/error.ts";
import type { Log } from "../telemetry/log.ts";
import { ProblemLog } from "../telemetry/problem-log.ts";

/** This process' own executable, also after its file was replaced. */
const ownExecutable = "/proc/self/exe";
const restarts = { firstMs: 100, longestMs: 60_000 };
/** A server that has run for so long has not failed at its start. */
const provenMs = 10_000;

export interface KeeperOptions {
  readonly stateDir: string;
  readonly log: Log;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

export class PluginServerKeeper implements Disposable {
  readonly #backoff = new Backoff(restarts, Math.random);
  readonly #problems: ProblemLog;
  #child: Bun.Subprocess<"pipe", "ignore", "pipe"> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  constructor(private readonly options: KeeperOptions) {
    this.#problems = new ProblemLog(options.log);
  }

  start(): void {
    const command = [ownExecutable, "plugin-server", "--state-dir", this.options.stateDir];
    try {
      this.#child = Bun.spawn(command, {
        ...{ stdin: "pipe", stdout: "ignore", stderr: "pipe", env: {} },
        onExit: (_, exitCode, signal) => this.#ended(`it ended with ${signal ?? exitCode}`),
      });
      void this.#passOn(this.#child.stderr);
      this.#later(provenMs, () => this.#proven());
    } catch (error) {
      this.#ended(messageOf(error));
    }
  }

  /** The server ends after the call that it is doing. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    void this.#child?.stdin.end();
  }

  #ended(why: string): void {
    this.#child = undefined;
    if (this.#isOver) return;
    const pauseMs = this.#backoff.fail(this.options.now());
    this.#problems.reportOnChange("plugin server", {
      message: `the plugin server does not run, and each call of the plugin starts by itself, which takes longer: ${why}`,
      level: "warn",
    });
    this.#later(pauseMs, () => this.start());
  }

  #proven(): void {
    this.#backoff.reset();
    this.#problems.reportOnChange("plugin server", undefined);
  }

  async #passOn(stderr: ReadableStream<Uint8Array>): Promise<void> {
    const text = await new Response(stderr).text();
    for (const line of text.split("\n")) if (line !== "") this.options.log.warn(line);
  }

  #later(inMs: number, run: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, inMs);
  }
}
