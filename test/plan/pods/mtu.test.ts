// Routes and links of a pod that get the tunnel's MTU, and the values that are restored.
import { describe, expect, test } from "bun:test";
import type { Link, Route } from "../../../src/net/objects.ts";
import {
  type ChangedRoute,
  mergeChanged,
  planLinkMtus,
  planRestore,
  planRouteMtus,
  readPodMtu,
  routesAbove,
} from "../../../src/plan/pods/mtu.ts";
import { renderStep } from "../../../src/plan/step.ts";
import { fastestCpuMs } from "../../lab/cpu-time.ts";

const link: Link = { index: 2, name: "eth0", kind: "veth", mtu: 1500, up: true, mac: "02:00:00:00:00:01" };

/** "DST [via IP] [dev NAME] [metric N] [mtu N]", by the interface eth0 unless told. */
function route(text: string): Route {
  const [dst = "", ...words] = text.split(" ");
  const after = (word: string) => (words.includes(word) ? words[words.indexOf(word) + 1] : undefined);
  const [via, metric, mtu] = [after("via"), after("metric"), after("mtu")];
  return {
    family: dst.includes(":") ? 6 : 4,
    table: Number(after("table") ?? 254),
    type: "unicast",
    dst,
    dev: after("dev") ?? "eth0",
    scope: "global",
    protocol: 3,
    ...(via === undefined ? {} : { via }),
    ...(metric === undefined ? {} : { priority: Number(metric) }),
    ...(mtu === undefined ? {} : { metrics: { mtu: Number(mtu) } }),
  };
}
const plan = (routes: string[], mtu: number, known: readonly ChangedRoute[] = [], linkMtu = 1500) => {
  const { steps, changed } = planRouteMtus(routes.map(route), { ...link, mtu: linkMtu }, known, mtu);
  return { steps: steps.flatMap(renderStep), changed };
};

const byDefault = "0.0.0.0/0 via 10.1.0.1";
const recorded: ChangedRoute = { family: 4, dst: "0.0.0.0/0", mtuBefore: null };

describe("routes", () => {
  test("of thousands that a pod's own processes have made, the widest few are changed, and no more recorded", () => {
    const many = Array.from({ length: 12_000 }, (_, i) => `172.16.${i >> 8}.${i & 255}/32 via 10.1.0.1`);
    const { steps, changed } = plan([...many, "::/0 metric 1024", byDefault], 1440);
    expect([steps.length, changed.length]).toEqual([64, 64]);
    expect(changed.slice(0, 2).map(({ dst }) => dst)).toEqual(["::/0", "0.0.0.0/0"]);
    // A recorded value stays, however often the routes are replaced.
    expect(plan(many, 1440, changed).changed).toEqual(changed);
    expect(routesAbove(many.map(route), link, 1440)).toHaveLength(64);
  });

  test("ten times the routes cost ten times the work, not a hundred", () => {
    const time = (count: number) => {
      const routes = Array.from(
        { length: count },
        (_, i) => `172.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`,
      );
      const known = routes.map((dst): ChangedRoute => ({ family: 4, dst, mtuBefore: null }));
      const present = routes.map((dst) => route(`${dst} via 10.1.0.1 mtu 1440`));
      return fastestCpuMs(() => {
        planRouteMtus(present, link, known, 1400);
        planRestore(present, known);
        mergeChanged(known, known);
      });
    };
    // A collection of garbage may take some of it.
    expect(time(20_000)).toBeLessThan(30 * time(2000) + 40);
  });

  test("what leads off the node gets the MTU, and is recorded with what it had", () => {
    const routes = [
      byDefault,
      "10.9.0.0/16 via 10.1.0.1 metric 7 mtu 1480",
      "::/0 metric 1024",
      "10.1.0.0/24",
      "10.8.0.0/16 via 10.1.0.1 dev eth1",
      "10.7.0.0/16 via 10.1.0.1 table 77",
    ];
    expect(plan(routes, 1440)).toEqual({
      steps: [
        "ip -n POD route change 0.0.0.0/0 via 10.1.0.1 dev eth0 proto 3 mtu 1440",
        "ip -n POD route change 10.9.0.0/16 via 10.1.0.1 dev eth0 proto 3 metric 7 mtu 1440",
        "ip -n POD -6 route change ::/0 dev eth0 proto 3 metric 1024 mtu 1440",
      ],
      changed: [
        recorded,
        { family: 4, dst: "10.9.0.0/16", priority: 7, mtuBefore: 1480 },
        { family: 6, dst: "::/0", priority: 1024, mtuBefore: null },
      ],
    });
  });

  test("a lower MTU stays: the route's own, or that of the interface", () => {
    expect(plan([`${byDefault} mtu 1300`], 1440).steps).toEqual([]);
    expect(plan([byDefault], 1440, [], 1400)).toEqual({ steps: [], changed: [] });
    expect(plan([byDefault], 1440, [], 1440).steps).toEqual([]);
  });

  test("what was changed before follows up and down, and what it had first stays on record", () => {
    const now = `${byDefault} mtu 1440`;
    for (const mtu of [1340, 1480])
      expect(plan([now], mtu, [recorded])).toEqual({
        steps: [`ip -n POD route change ${byDefault} dev eth0 proto 3 mtu ${mtu}`],
        changed: [recorded],
      });
    expect(plan([now], 1440, [recorded])).toEqual({ steps: [], changed: [recorded] });
  });

  test("never above what there was first", () => {
    expect(plan([`${byDefault} mtu 1440`], 8941, [recorded]).steps).toEqual([
      `ip -n POD route change ${byDefault} dev eth0 proto 3`,
    ]);
    expect(plan([`${byDefault} mtu 1440`], 8941, [{ ...recorded, mtuBefore: 1460 }]).steps).toEqual([
      `ip -n POD route change ${byDefault} dev eth0 proto 3 mtu 1460`,
    ]);
    expect(plan([`${byDefault} mtu 1440`], 8941, [recorded], 9000).steps).toEqual([
      `ip -n POD route change ${byDefault} dev eth0 proto 3 mtu 8941`,
    ]);
  });

  test("a route is known by its destination and metric", () => {
    const { changed } = plan([`${byDefault} metric 5`], 1440, [recorded]);
    expect(changed).toEqual([recorded, { ...recorded, priority: 5 }]);
  });

  test("what lets too much through", () => {
    const routes = [
      byDefault,
      "10.9.0.0/16 via 10.1.0.1 mtu 1441",
      "10.8.0.0/16 via 10.1.0.1 mtu 1440",
      "10.1.0.0/24",
    ];
    const dsts = (linkMtu: number) =>
      routesAbove(routes.map(route), { ...link, mtu: linkMtu }, 1440).map(({ dst }) => dst);
    expect(dsts(1500)).toEqual(["0.0.0.0/0", "10.9.0.0/16"]);
    expect(dsts(1440)).toEqual(["10.9.0.0/16"]);
  });

  test("what there was first comes back, if it is not there already", () => {
    const changed = [
      recorded,
      { ...recorded, dst: "10.9.0.0/16", mtuBefore: 1480 },
      { ...recorded, dst: "10.8.0.0/16", mtuBefore: 1470 },
      { ...recorded, dst: "10.7.0.0/16" },
    ];
    const routes = [
      `${byDefault} mtu 1440`,
      "10.9.0.0/16 via 10.1.0.1 mtu 1440",
      "10.8.0.0/16 via 10.1.0.1 mtu 1470",
      "10.6.0.0/16 via 10.1.0.1 mtu 1440",
    ];
    expect(planRestore(routes.map(route), changed).flatMap(renderStep)).toEqual([
      "ip -n POD route change 0.0.0.0/0 via 10.1.0.1 dev eth0 proto 3",
      "ip -n POD route change 10.9.0.0/16 via 10.1.0.1 dev eth0 proto 3 mtu 1480",
    ]);
  });

  test("two records of one route: the first is the truth", () => {
    const other = { ...recorded, dst: "10.9.0.0/16" };
    expect(mergeChanged([recorded], [{ ...recorded, mtuBefore: 1440 }, other])).toEqual([recorded, other]);
  });
});

describe("the ends of a standalone pod's link", () => {
  const host = { ...link, name: "wgc0" };
  const steps = (podMtu: number, hostMtu: number, ips: string[], mtu: number) =>
    planLinkMtus({ pod: { ...link, mtu: podMtu }, host: { ...host, mtu: hostMtu } }, ips, mtu).flatMap(
      renderStep,
    );

  test("both get it, if they have another", () => {
    const both = ["ip -n POD link set eth0 mtu 1340", "ip link set wgc0 mtu 1340"];
    expect(steps(1440, 1440, ["10.1.0.2", "fd00::2"], 1340)).toEqual(both);
    expect(steps(1340, 1440, ["10.1.0.2"], 1340)).toEqual(both.slice(1));
    expect(steps(1340, 1340, ["10.1.0.2"], 1340)).toEqual([]);
  });

  test("an address that the kernel would take away with it is a reason not to", () => {
    expect(steps(1440, 1440, ["10.1.0.2"], 1000)).toHaveLength(2);
    expect(() => steps(1440, 1440, ["10.1.0.2", "fd00::2"], 1279)).toThrow(
      "its address fd00::2 needs at least 1280; set --mtu higher",
    );
  });
});

test("an attachment without a record has nothing to put back", () => {
  expect(readPodMtu(null)).toEqual({});
  expect(readPodMtu({ configured: 1400 })).toEqual({ configured: 1400 });
});
