// The product's plugin server in a node, without the agent that usually starts it. It ends with the lab
// at the latest.
import { pluginSocket } from "../../src/net/state-dir.ts";
import { childOf } from "./agent.ts";
import type { Completed, Running } from "./namespaces.ts";
import type { Node } from "./node.ts";
import { waitUntil } from "./wait.ts";

export class PluginServer {
  private constructor(
    private readonly running: Running,
    /** As the test process sees it. */
    readonly pid: number,
  ) {
    void running.finished.then(() => {
      this.hasEnded = true;
    });
  }

  hasEnded = false;

  /** Called by Node.servePlugin(). Resolves when it takes calls. */
  static async start(node: Node): Promise<PluginServer> {
    const { stateDir } = node;
    node.must(["mkdir", "-p", "-m", "0700", stateDir]);
    const running = node.start([node.executable, "plugin-server", "--state-dir", stateDir], {
      interactive: true,
    });
    const isThere = () => node.exec(["test", "-S", pluginSocket(stateDir)]).exitCode === 0;
    await waitUntil(isThere, { what: `a plugin server at ${pluginSocket(stateDir)}` });
    return new PluginServer(running, childOf(running.pid));
  }

  pause(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  /** nsenter has stopped with the server. */
  resume(): void {
    for (const pid of [this.pid, this.running.pid]) process.kill(pid, "SIGCONT");
  }

  /** Closes its standard input, as the end of the agent does. */
  async stop(): Promise<Completed> {
    await this.running.closeInput();
    return this.running.finished;
  }
}
