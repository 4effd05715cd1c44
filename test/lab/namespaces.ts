// A space is a set of Linux namespaces that commands are run in: a node, a pod
// or the wire between nodes. Every command goes through nsenter(1), so the test
// process itself never changes its namespaces.
import { atPace } from "./pace.ts";

export interface RunOptions {
  /** Text on standard input; nothing when absent. */
  readonly stdin?: string;
  /** Standard input stays open instead, for Running.write(); only by start. */
  readonly interactive?: boolean;
  /** The whole environment besides PATH and HOME. */
  readonly env?: Readonly<Record<string, string>>;
  /** The command is killed after this long; 30 s unless told. */
  readonly timeoutMs?: number;
  /** Called for every line of standard error as it comes; only by start and run. */
  readonly onStderrLine?: (line: string) => void;
}

export interface Completed {
  readonly command: readonly string[];
  /** 128 and more if a signal ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

/** A command that should have succeeded and did not. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  constructor(
    where: string,
    readonly completed: Completed,
  ) {
    const said = `${completed.stderr}${completed.stdout}`.trim();
    super(`In ${where}, "${completed.command.join(" ")}" ended with ${completed.exitCode}: ${said}`);
  }
}

const defaultTimeoutMs = atPace(30_000);
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export class Namespaces {
  /** `enter` are nsenter's arguments, `label` is what errors call this place. */
  constructor(
    readonly label: string,
    readonly enter: readonly string[],
  ) {}

  /** Runs to the end, blocking; never throws for an exit code. */
  exec(command: readonly string[], options: RunOptions = {}): Completed {
    const start = Bun.nanoseconds();
    const done = Bun.spawnSync([...this.#prefix(), ...command], {
      env: environment(options),
      stdin: Buffer.from(options.stdin ?? ""),
      stdout: "pipe",
      stderr: "pipe",
      timeout: options.timeoutMs ?? defaultTimeoutMs,
      killSignal: "SIGKILL",
    });
    return {
      command,
      exitCode: done.exitCode ?? 128,
      stdout: done.stdout.toString(),
      stderr: done.stderr.toString(),
      milliseconds: (Bun.nanoseconds() - start) / 1e6,
    };
  }

  /** Like exec, but a failure throws CommandError. Returns standard output. */
  must(command: readonly string[], options: RunOptions = {}): string {
    const completed = this.exec(command, options);
    if (completed.exitCode !== 0) throw new CommandError(this.label, completed);
    return completed.stdout;
  }

  /** Several shell lines at once; stops at the first that fails. Throws CommandError. */
  script(lines: readonly string[]): string {
    return this.must(["sh", "-euc", lines.join("\n")]);
  }

  /** Starts a command and returns at once. It ends with the lab at the latest. */
  start(command: readonly string[], options: RunOptions = {}): Running {
    return new Running(command, this.#prefix(), options);
  }

  /** Runs to the end without blocking; never throws for an exit code. */
  run(command: readonly string[], options: RunOptions = {}): Promise<Completed> {
    return this.start(command, { timeoutMs: defaultTimeoutMs, ...options }).finished;
  }

  #prefix(): string[] {
    return ["nsenter", ...this.enter, "--"];
  }
}

/** A started command. Its process group is its own, so that Ctrl-C leaves the order of the end to us. */
export class Running {
  readonly finished: Promise<Completed>;
  readonly #child: Bun.Subprocess<Blob | "ignore" | "pipe", "pipe", "pipe">;
  #stderr = "";
  #wake: () => void = () => {};

  constructor(command: readonly string[], prefix: readonly string[], options: RunOptions) {
    const start = Bun.nanoseconds();
    const child = Bun.spawn([...prefix, ...command], {
      env: environment(options),
      stdin: options.interactive
        ? "pipe"
        : options.stdin === undefined
          ? "ignore"
          : new Blob([options.stdin]),
      stdout: "pipe",
      stderr: "pipe",
      detached: true,
    });
    this.#child = child;
    const timer = options.timeoutMs ? setTimeout(() => this.signal("SIGKILL"), options.timeoutMs) : undefined;
    const stderr = this.#collectStderr(child.stderr, options.onStderrLine);
    this.finished = Promise.all([child.stdout.text(), stderr, child.exited]).then(([stdout, , exitCode]) => {
      clearTimeout(timer);
      return {
        command,
        exitCode,
        stdout,
        stderr: this.#stderr,
        milliseconds: (Bun.nanoseconds() - start) / 1e6,
      };
    });
  }

  /** Of nsenter, whose only child is the command. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves once standard error holds `text`; throws when the command ends without it. */
  async saidOnStderr(text: string): Promise<void> {
    const ended = this.finished.then(() => true);
    while (!this.#stderr.includes(text)) {
      const changed = new Promise<boolean>((resolve) => {
        this.#wake = () => resolve(false);
      });
      if (await Promise.race([changed, ended])) throw new CommandError("the lab", await this.finished);
    }
  }

  /** A line on the standard input of a command that was started as interactive. */
  write(line: string): void {
    const { stdin } = this.#child;
    if (stdin === undefined || typeof stdin === "number") throw new Error("The command is not interactive");
    stdin.write(`${line}\n`);
    stdin.flush();
  }

  /** Ends the standard input of a command that was started as interactive. */
  async closeInput(): Promise<void> {
    const { stdin } = this.#child;
    if (stdin === undefined || typeof stdin === "number") throw new Error("The command is not interactive");
    await stdin.end();
  }

  /** Signals nsenter and the command inside: a process group reaches across PID namespaces. */
  signal(name: "SIGINT" | "SIGTERM" | "SIGKILL"): void {
    try {
      process.kill(-this.#child.pid, name);
    } catch {
      // It has ended already.
    }
  }

  stop(name: "SIGINT" | "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<Completed> {
    this.signal(name);
    return this.finished;
  }

  async #collectStderr(stream: ReadableStream<Uint8Array>, onLine?: (line: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    let told = 0;
    for await (const chunk of stream) {
      this.#stderr += decoder.decode(chunk, { stream: true });
      this.#wake();
      for (let at = this.#stderr.indexOf("\n", told); at >= 0; at = this.#stderr.indexOf("\n", told)) {
        onLine?.(this.#stderr.slice(told, at));
        told = at + 1;
      }
    }
  }
}

function environment(options: RunOptions): Record<string, string> {
  return { PATH: searchPath, HOME: "/root", LC_ALL: "C", ...options.env };
}
