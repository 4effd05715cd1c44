// The relay between the agents of a lab and its API server in a test of faults; bad-relay.ts has its
// commands.
import { gateways } from "../../lab/lab.ts";
import type { Running } from "../../lab/namespaces.ts";
import { waitUntil } from "../../lab/wait.ts";
import { type ApiServer, port } from "./api-server.ts";

const relayPort = 6444;

export class ApiRelay {
  /** For the environment of an agent: it is the API server to it. */
  static readonly env = { KUBERNETES_SERVICE_PORT: `${relayPort}` };
  readonly #running: Running;
  readonly #said: string[] = [];

  private constructor({ lab, pki }: ApiServer) {
    const program = `${import.meta.dir}/bad-relay.ts`;
    this.#running = lab.wire.start(
      [process.execPath, "--smol", program, gateways[4], `${relayPort}`, `${port}`, pki.directory],
      { interactive: true, onStderrLine: (line) => this.#said.push(line) },
    );
  }

  /** It ends with the lab. */
  static async start(server: ApiServer): Promise<ApiRelay> {
    const relay = new ApiRelay(server);
    await relay.#hears("listening", 1);
    return relay;
  }

  async tell(line: `delay ${number}` | `busy ${number}` | "hold" | "cut"): Promise<void> {
    const done = `done: ${line}`;
    const before = this.#said.filter((one) => one === done).length;
    this.#running.write(line);
    await this.#hears(done, before + 1);
  }

  /** For each agent and thing that it watches, when it asked a server that was too busy: Unix milliseconds. */
  asked(): number[][] {
    const asked = this.#said.flatMap((line) => {
      const [, who = "", ms] = /^asked: (\S+ watch \S+) (\d+)$/.exec(line) ?? [];
      return ms === undefined ? [] : [{ who, ms: Number(ms) }];
    });
    return [...Map.groupBy(asked, ({ who }) => who).values()].map((group) => group.map(({ ms }) => ms));
  }

  async #hears(line: string, times: number): Promise<void> {
    const isSaid = () => this.#said.filter((one) => one === line).length >= times;
    await waitUntil(isSaid, {
      what: () => `the relay saying "${line}", which said: ${this.#said.join("\n")}`,
    });
  }
}
