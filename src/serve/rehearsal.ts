// Runs every verb a few times before the first real call: code that runs for the first time takes
// several times as long. The rehearsal has network namespaces and a store of its own, so neither the
// node nor its pods see anything of it.
import { rmSync } from "node:fs";
import { closeFd, mkdir, openFile } from "../linux/file.ts";
import { enterNewNetns, findNetnsIdentity, ownNetns, returnTo } from "../linux/netns.ts";
import { Calls } from "./calls.ts";

const rounds = 5;
const containerID = "rehearsal";
const ifname = "eth0";

/** `directory` is made and removed. Throws SysError: without the right to make namespaces there is no rehearsal. */
export async function rehearse(directory: string, now: () => number): Promise<void> {
  const home = openFile(ownNetns);
  try {
    const pod = enterNewNetns();
    const node = enterNewNetns();
    try {
      // A server that was killed may have left one.
      rmSync(directory, { recursive: true, force: true });
      mkdir(directory);
      using calls = new Calls(directory, now);
      for (let i = 0; i < rounds; i++) await rehearseOnce(calls, directory, `/proc/self/fd/${pod}`);
    } finally {
      closeFd(node);
      closeFd(pod);
      rmSync(directory, { recursive: true, force: true });
    }
  } finally {
    returnTo(home);
    closeFd(home);
  }
}

async function rehearseOnce(calls: Calls, stateDir: string, netns: string): Promise<void> {
  const network = { cniVersion: "1.1.0", name: "rehearsal", type: "wg-cni", stateDir };
  const main = {
    ...network,
    ipam: { ranges: [[{ subnet: "192.0.2.0/24" }], [{ subnet: "2001:db8::/64" }]] },
  };
  const run = async (command: string, conf: object) => {
    const env = {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: containerID, CNI_IFNAME: ifname },
      ...{ CNI_NETNS: netns, CNI_PATH: "/" },
    };
    const stdin = new TextEncoder().encode(JSON.stringify(conf));
    const call = { env, netns: findNetnsIdentity(ownNetns) ?? "", elapsedMs: 0, sentAtMs: 0, stdin };
    const served = await calls.serve(call, netns);
    return served?.printed.stdout ?? "";
  };
  const prevResult: unknown = JSON.parse(await run("ADD", main));
  const chained = { ...network, name: "chained", prevResult };
  await run("CHECK", { ...main, prevResult });
  for (const command of ["ADD", "CHECK", "DEL"]) await run(command, chained);
  await run("DEL", { ...main, prevResult });
  await run("STATUS", main);
  await run("GC", { ...main, "cni.dev/valid-attachments": [] });
}
