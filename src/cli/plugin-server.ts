// `plugin-server` is the agent's: it starts it, and ends it by closing its standard input.
import { hostMonotonicMs } from "../linux/clock.ts";
import { PluginServer } from "../serve/server.ts";
import type { Context, Output } from "./command.ts";

const stdin = 0;

export async function pluginServer({ stateDir, build, stderr }: Context): Promise<Output> {
  // Both get a signal that ends the service. The agent's end is the one that counts, after the call that runs.
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => {});
  const warn = (message: string) => stderr(`wg-cni: ${message}\n`);
  using server = await PluginServer.open({
    stateDir,
    build,
    parent: stdin,
    warn,
    now: hostMonotonicMs,
  });
  await server.run();
  return { json: {}, text: () => "" };
}
