// The test of both files of this directory: which points are tried, and what is printed of them.
//
//   FAULTS=500 SEED=7 scripts/bun test ./test/faults/every.test.ts      other points
//   CASE="chained ADD" scripts/bun test ./test/faults/every.test.ts     of the cases whose name has the text
//   POINT="sync/sendto/30/KILL" scripts/bun test ./test/faults/every.test.ts
import { beforeAll, expect, test } from "bun:test";
import { describeKernel } from "../../kernel/support/gate.ts";
import type { Node } from "../../lab/node.ts";
import { withLab } from "../../lab/with-lab.ts";
import { makeCases } from "./cases.ts";
import { listPoints, nameOf, play, sample } from "./play.ts";

const seed = Number(process.env["SEED"] ?? 1);
const wantedPoint = process.env["POINT"];
const wantedCase = wantedPoint?.split("/")[0] ?? process.env["CASE"];
/** Of one point on a busy machine. */
const pointMs = 3000;
/** Of the runs without a fault. */
const listMs = 240_000;

/** Tries so many points of the cases whose names match. */
export function describeFaults(defaultCount: number, names: RegExp): void {
  const count = Number(process.env["FAULTS"] ?? defaultCount);
  const isTried = (name: string) => (wantedCase === undefined ? names.test(name) : name.includes(wantedCase));
  const body = () => {
    const lab = withLab("faults");
    let node: Node;
    beforeAll(async () => {
      node = await lab.node("n1", {
        ...{ ip4: "192.0.2.1", ip6: "2001:db8::1" },
        podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
      });
    });

    test(
      "commands end at system calls: what is said to be done is done, and the rest converges without a trace",
      async () => {
        const all = await listPoints(
          node,
          (await makeCases(node)).filter(({ name }) => isTried(name)),
        );
        const isWanted = (point: (typeof all)[number]) => nameOf(point) === wantedPoint;
        const points = wantedPoint === undefined ? sample(all, count, seed) : all.filter(isWanted);
        expect(points.length).toBeGreaterThan(0);
        const wrong: string[] = [];
        for (const point of points) {
          const what = await play(node, point);
          if (what === undefined) continue;
          const command = `POINT="${nameOf(point)}" scripts/bun test ./test/faults/every.test.ts`;
          console.log(`${command}\n${what}`);
          wrong.push(command);
        }
        console.log(`${points.length} of ${all.length} points, ${wrong.length} wrong`);
        expect(wrong).toEqual([]);
      },
      listMs + count * pointMs,
    );
  };
  describeKernel(`faults (seed ${seed})`, body, ["strace", "wireguard-go", "nft", "wg"]);
}
