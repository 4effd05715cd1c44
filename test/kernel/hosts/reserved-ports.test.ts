// Our UDP ports are among those that the kernel gives to nobody who asks for any: added
// to what others reserve, taken out by `down` and nothing else with them.
import { beforeAll, expect, test } from "bun:test";
import type { Node } from "../../lab/node.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addNode, wgJson, wgMust } from "../support/mesh-reference.ts";

const list = "/proc/sys/net/ipv4/ip_local_reserved_ports";
/** Room for our two ports and one more. */
const range = "/proc/sys/net/ipv4/ip_local_port_range";

describeKernel("reserved ports", () => {
  const lab = withLab("reserved");
  let n1: Node;
  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    n1.script([`echo 8080 >${list}`, `echo "51820 51822" >${range}`]);
  });
  const reserved = () => n1.must(["cat", list]).trim();
  /** Ports that sockets get who ask for any, in their order; fewer than three where there are no more. */
  const given = () => {
    const ask = `const s = []; try { for (;;) s.push(await Bun.udpSocket({ hostname: "127.0.0.1" })); } catch {}
      console.log(s.map(({ port }) => port).sort().join());
      process.exit(0);`;
    return n1.must([process.execPath, "-e", ask]).trim();
  };

  test("control: without them, a socket that asks for any port may get ours", () => {
    expect(given()).toBe("51820,51821,51822");
  });

  test("up adds ours to what is there, and the kernel gives them to no process", async () => {
    await wgMust(n1, ["up", ...n1.upArguments]);
    expect(reserved()).toBe("8080,51820-51821");
    expect(given()).toBe("51822");
    expect(await wgJson(n1, ["sync"])).toMatchObject({ writes: 0, steps: [] });
  });

  test("a list that another process rewrites gets ours again", async () => {
    n1.script([`echo 8080,9000 >${list}`]);
    await wgMust(n1, ["sync"]);
    expect(reserved()).toBe("8080,9000,51820-51821");
  });

  test("down removes ours, and leaves what other processes have added since", async () => {
    await wgMust(n1, ["down"]);
    expect(reserved()).toBe("8080,9000");
  });

  test("one of ours that was reserved before stays reserved", async () => {
    n1.script([`echo 51821 >${list}`]);
    await wgMust(n1, ["up"]);
    expect(reserved()).toBe("51820-51821");
    await wgMust(n1, ["down"]);
    expect(reserved()).toBe("51821");
    n1.script([`echo >${list}`]);
    await wgMust(n1, ["up"]);
    await wgMust(n1, ["down"]);
    expect(reserved()).toBe("");
  });
});
