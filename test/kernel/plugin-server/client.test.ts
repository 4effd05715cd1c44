// The side of the plugin's process: it passes on what a server answers, and does the call itself if no
// server takes it, or the one that took it is gone.
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { call, succeed } from "../support/plugin.ts";
import { rows } from "../support/reference.ts";
import { playServer, readBuild, socketPath } from "./support.ts";

const conf = {
  ...{ cniVersion: "1.1.0", name: "pods", type: "wg-cni" },
  ipam: { ranges: [[{ subnet: "10.9.0.0/24" }]] },
};

describeKernel("a plugin process and what it finds at the place of the server", () => {
  const lab = withLab("plugin-client");
  let node: Node;
  let pod: Pod;
  let build: string;
  beforeAll(async () => {
    node = await lab.node("n1", { ip4: "192.0.2.1", podCidrs: [] });
    build = await readBuild(node);
  });
  beforeEach(() => {
    pod = node.pod(`p${node.pods.length}`);
  });
  afterEach(async () => {
    node.must(["rm", "-rf", `${node.stateDir}/plugin.sock`]);
    await call(node, "DEL", conf, pod);
  });

  /** Does an ADD that nobody else does, and which therefore is in the store. */
  async function expectOwnWork(): Promise<void> {
    const { json } = await succeed(node, "ADD", conf, pod);
    expect(json.ips).toHaveLength(1);
    expect(rows(node).attachments).toHaveLength(1);
  }

  test("it prints the answer of a server, and ends with its code", async () => {
    let bytes = 0;
    using _server = playServer(node, build, (request, reply) => {
      bytes += request.length;
      reply(
        { kind: "stderr", text: "a warning\n" },
        { kind: "stdout", text: '{"code":107}\n' },
        { kind: "exit", text: "1" },
      );
    });
    const answer = await call(node, "ADD", conf, pod);
    expect(answer).toMatchObject({ exitCode: 1, stdout: '{"code":107}\n', stderr: "a warning\n" });
    expect(bytes).toBeGreaterThan(JSON.stringify(conf).length);
    expect(rows(node).attachments).toHaveLength(0);
  });

  test("a server of another build is not asked", async () => {
    let requests = 0;
    using _server = playServer(node, `${build}0`, () => requests++);
    await expectOwnWork();
    expect(requests).toBe(0);
  });

  test("a server that declines, or ends without an answer, leaves the call to the process", async () => {
    for (const kind of ["declined", "nothing"]) {
      using _server = playServer(node, build, (_, reply, close) =>
        kind === "declined" ? reply({ kind: "declined", text: "" }) : close(),
      );
      await expectOwnWork();
      await call(node, "DEL", conf, pod);
    }
  });

  test("half of an answer is not printed", async () => {
    using _server = playServer(node, build, (_, reply, close) => {
      reply({ kind: "stdout", text: "half" });
      setTimeout(close, 20);
    });
    await expectOwnWork();
  });

  test.each([
    ["nothing", "true"],
    ["a plain file", "touch plugin.sock"],
    ["a directory", "mkdir plugin.sock"],
    ["a link to itself", "ln -s plugin.sock plugin.sock"],
    ["a link to nowhere", "ln -s /nowhere plugin.sock"],
    ["a pipe", "mkfifo plugin.sock"],
  ])("%s in its place", async (_, make) => {
    node.script([`mkdir -p -m 0700 ${node.stateDir}`, `cd ${node.stateDir}`, make]);
    await expectOwnWork();
  });

  test("a socket whose server is gone", async () => {
    const server = playServer(node, build, () => {});
    node.must(["mv", `${node.stateDir}/plugin.sock`, `${node.stateDir}/kept`]);
    server.stop(true);
    node.must(["mv", `${node.stateDir}/kept`, `${node.stateDir}/plugin.sock`]);
    await expectOwnWork();
  });

  test("a server that is stopped costs a moment, and nothing else", async () => {
    const server = await node.servePlugin();
    server.pause();
    try {
      await expectOwnWork();
    } finally {
      server.resume();
      await server.stop();
    }
  });

  describe("a server that has taken the call", () => {
    const ask = join(repository, "test/kernel/plugin-server/ask.ts");
    const run = () =>
      node.run([process.execPath, ask, build], {
        stdin: JSON.stringify(conf),
        env: {
          CNI_COMMAND: "ADD",
          CNI_CONTAINERID: "c",
          CNI_IFNAME: "eth0",
          CNI_NETNS: pod.netns,
          CNI_PATH: "/",
        },
      });

    test("and does not answer in time: the call fails, to be tried again", async () => {
      using _server = playServer(node, build, () => {});
      expect(JSON.parse((await run()).stdout)).toMatchObject({ exitCode: 1, answer: { code: 11 } });
    });

    test("and answers what is no answer: the call fails, to be tried again", async () => {
      using _server = Bun.listen({
        unix: socketPath(node),
        socket: {
          open: (socket) =>
            void socket.write(Buffer.concat([Buffer.from([0, build.length, 0, 0, 0]), Buffer.from(build)])),
          data: (socket) => void socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"),
        },
      });
      expect(JSON.parse((await run()).stdout)).toMatchObject({ exitCode: 1, answer: { code: 11 } });
    });

    test("and ends: the call is left to the process", async () => {
      using _server = playServer(node, build, (_, __, close) => close());
      expect(JSON.parse((await run()).stdout)).toEqual({});
    });
  });
});
