// One booted virtual machine: Debian's cloud kernel (which has WireGuard) under
// qemu, with this repository at /repo. Scripts are run in it one at a time.
// Everything waits for a bounded time; a machine that is late is ended, by its
// own process id, and the tail of its console says what it did last.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Subprocess } from "bun";
import { prepareArm64Image } from "./arm64-image.ts";
import { command, type Image, prepareImage, root } from "./image.ts";

/** The parts of the repository that are at /repo, beside node_modules. */
const repositoryFiles = ["package.json", "tsconfig.json", "src", "test", "scripts", "conf"];

const bootTimeoutMs = 120_000;
const defaultTimeoutMs = 240_000;

export interface Output {
  /** Standard output and error together, in the order written. */
  readonly output: string;
  readonly exitCode: number;
}

export interface MachineOptions {
  /** Files to add: absolute path in the machine -> file or directory here. */
  readonly files?: Record<string, string>;
  readonly memoryMiB?: number;
  /** x64 unless told. The other one is for the built executable and Debian's programs: it has no Bun for tests. */
  readonly arch?: MachineArch;
}

export type MachineArch = "x64" | "arm64";

/** Why no machine can be booted here; undefined when one can. */
export function unavailable(): string | undefined {
  return process.arch === "x64" ? undefined : "the virtual machine is an x86-64 one";
}

/** Boots a machine, runs one shell script in it and ends the machine. */
export async function run(script: string, files: Record<string, string> = {}, timeoutMs = defaultTimeoutMs) {
  await using machine = await Machine.boot({ files });
  return await machine.run(script, timeoutMs);
}

export class Machine implements AsyncDisposable {
  readonly #process: Subprocess<"pipe", "pipe", "pipe">;
  readonly #directory: string;
  readonly #output: AsyncIterator<string>;
  #received = "";
  #requests = 0;

  private constructor(directory: string, argv: string[]) {
    this.#directory = directory;
    this.#process = Bun.spawn(argv, { cwd: directory, stdin: "pipe", stdout: "pipe", stderr: "pipe" });
    this.#output = decoded(this.#process.stdout);
  }

  static async boot(options: MachineOptions = {}): Promise<Machine> {
    const arch = options.arch ?? "x64";
    const image = arch === "arm64" ? prepareArm64Image() : prepareImage();
    const directory = mkdtempSync(join(tmpdir(), "wg-cni-vm-"));
    packFiles(directory, arch, options.files ?? {});
    const machine = new Machine(directory, qemu(arch, image, options.memoryMiB ?? 1024));
    try {
      machine.#send("ready");
      await machine.#answer("ready", bootTimeoutMs, "the boot");
      // It is unpacked, and large: nothing of it stays behind when this process is killed.
      rmSync(join(directory, "files.tar"));
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
    return machine;
  }

  /** Runs a shell script (dash) in /repo; its status is returned, not thrown. */
  async run(script: string, timeoutMs = defaultTimeoutMs): Promise<Output> {
    const id = String(++this.#requests);
    this.#send(`${id} ${Buffer.from(script).toString("base64")}`);
    return await this.#answer(id, timeoutMs, `"${script.trim().split("\n")[0]}"`);
  }

  /** Runs a script that must succeed, and returns what it wrote. */
  async check(script: string, timeoutMs = defaultTimeoutMs): Promise<string> {
    const { output, exitCode } = await this.run(script, timeoutMs);
    if (exitCode !== 0)
      throw new Error(`exit status ${exitCode} in the virtual machine:\n${script}\n${output}`);
    return output;
  }

  /** The kernel's messages so far. */
  console(): string {
    const file = join(this.#directory, "console");
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #send(line: string): void {
    this.#process.stdin.write(`${line}\n`);
    this.#process.stdin.flush();
  }

  /** Reads up to the line that ends the answer to request `id`. */
  async #answer(id: string, timeoutMs: number, what: string): Promise<Output> {
    const end = new RegExp(`\x1e${id} (\\d+)\n`);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#process.kill("SIGKILL");
    }, timeoutMs);
    try {
      for (;;) {
        const match = end.exec(this.#received);
        if (match !== null) {
          const output = this.#received.slice(0, match.index);
          this.#received = this.#received.slice(match.index + match[0].length);
          return { output, exitCode: Number(match[1]) };
        }
        const next = await this.#output.next();
        if (next.done) throw new Error(await this.#obituary(what, late ? timeoutMs : undefined));
        this.#received += next.value;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  async #obituary(what: string, timeoutMs: number | undefined): Promise<string> {
    const complaint = await new Response(this.#process.stderr).text();
    const reason =
      timeoutMs === undefined ? "ended" : `did not finish within ${timeoutMs / 1000} s and was ended`;
    const tail = this.console().split("\n").slice(-40).join("\n");
    return `The virtual machine ${reason} during ${what}.\n${complaint}${this.#received}\nConsole:\n${tail}`;
  }
}

async function* decoded(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) yield decoder.decode(chunk, { stream: true });
}

/** The second disk is a tar archive, which the agent unpacks over the root. */
function packFiles(directory: string, arch: MachineArch, files: Record<string, string>): void {
  const stage = join(directory, "files");
  mkdirSync(stage);
  const all = [
    ...repositoryFiles.map((name) => [`/repo/${name}`, join(root, name)] as const),
    [
      "/repo/plugin-bin/wg-cni",
      join(root, arch === "x64" ? "plugin-bin/wg-cni" : `plugin-bin/wg-cni-${arch}`),
    ],
    ...Object.entries(files),
  ];
  for (const [destination, source] of all) {
    if (!existsSync(source) && !(destination in files)) continue;
    mkdirSync(dirname(join(stage, destination)), { recursive: true });
    symlinkSync(resolve(source), join(stage, destination));
  }
  command([
    "tar",
    "-c",
    "-h",
    "-f",
    join(directory, "files.tar"),
    "--owner=0",
    "--group=0",
    "-C",
    stage,
    ".",
  ]);
  rmSync(stage, { recursive: true });
}

/** Each as a function: what the environment asks for is read when a machine boots. */
const boards = {
  x64() {
    const accel = process.env["VM_ACCEL"] ?? "tcg";
    const cpu = accel === "kvm" ? "host" : "max";
    return {
      program: "qemu-system-x86_64",
      board: ["-M", "q35", "-accel", accel, "-cpu", cpu],
      console: "ttyS0",
    };
  },
  // Not the newest processor: emulating its pointer authentication takes most of the time.
  arm64: () => ({
    program: "qemu-system-aarch64",
    board: ["-M", "virt", "-accel", "tcg", "-cpu", "cortex-a72"],
    console: "ttyAMA0",
  }),
};

/**
 * The machine is emulated: it boots where there is no KVM, or one that hangs.
 * VM_ACCEL=kvm asks for KVM. Not qemu's smaller "microvm": it has no clock to
 * calibrate the TSC by, and on a busy machine its kernel hangs at the start.
 * setpriv ends it when this process dies.
 */
function qemu(arch: MachineArch, { kernel, initramfs, disk }: Image, memoryMiB: number): string[] {
  const drive = (id: string, file: string) => [
    ...["-drive", `id=${id},file=${file},format=raw,readonly=on,if=none`],
    ...["-device", `virtio-blk-pci,drive=${id}`],
  ];
  // Without expedited RCU, deleting a device with 1,000 peers takes 15 s.
  const parameters = "quiet panic=-1 mitigations=off random.trust_cpu=on rcupdate.rcu_expedited=1";
  const { program, board, console } = boards[arch]();
  return [
    ...["setpriv", "--pdeathsig", "KILL", program, ...board, "-smp", "2"],
    ...["-m", String(memoryMiB), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ...[
      "-kernel",
      kernel,
      "-initrd",
      initramfs,
      "-append",
      `console=${console} ${parameters}`,
      "-serial",
      "file:console",
    ],
    ...drive("root", disk),
    ...drive("files", "files.tar"),
    ...["-device", "virtio-serial-pci", "-chardev", "stdio,id=port,signal=off"],
    ...["-device", "virtserialport,chardev=port"],
  ];
}
