import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Slot } from "../../../src/net/record.ts";
import { diffMesh } from "../../../src/plan/mesh/diff.ts";
import {
  emptyMesh,
  type Mesh,
  type MeshDevice,
  type MeshLink,
  type MeshPeer,
} from "../../../src/plan/mesh/model.ts";
import { renderStep } from "../../../src/plan/step.ts";
import { findMesh, meshes, meshesOrNone, runs } from "../meshes.ts";
import { applyToModel, printMesh } from "../model.ts";
import { key, localRecord } from "../random.ts";

const publicKeys = { a: key(200), b: key(201) };
const slotOf = new Map<string, Slot>([
  ["wg-cni-a", "a"],
  ["wg-cni-b", "b"],
]);
const options = { slotOf, nowMs: 1_000_000_000, ownIPs: ["192.0.2.100"] };
const check = <T extends [unknown, ...unknown[]]>(
  property: fc.IProperty<T>,
  numRuns: number = runs.numRuns,
) => fc.assert(property, { ...runs, numRuns });

describe("properties of the diff", () => {
  test("a mesh that is as desired needs nothing", () => {
    check(fc.property(meshes, (mesh) => expect(diffMesh(mesh, mesh, options)).toEqual([])));
  });

  test("applying the diff reaches the desired mesh from any other, and then nothing is left", () => {
    check(
      fc.property(meshesOrNone, meshesOrNone, (from, to) => {
        const reached = applyToModel(from, diffMesh(to, from, options), publicKeys);
        expect(wanted(reached, to)).toEqual(printMesh(to));
        expect(diffMesh(to, reached, options)).toEqual([]);
      }),
    );
  });

  test("a diff that was interrupted anywhere is finished by the next one", () => {
    check(
      fc.property(meshes, meshes, fc.nat(), (from, to, at) => {
        const steps = diffMesh(to, from, options);
        const half = applyToModel(from, steps.slice(0, at % (steps.length + 1)), publicKeys);
        const reached = applyToModel(half, diffMesh(to, half, options), publicKeys);
        expect(wanted(reached, to)).toEqual(printMesh(to));
      }),
    );
  });

  test("no route leads into a tunnel whose device lacks the allowed IP, after any step", () => {
    check(
      fc.property(meshes, meshes, (from, to) => {
        const steps = diffMesh(to, from, options);
        for (let done = 0; done <= steps.length; done++) {
          const mesh = applyToModel(from, steps.slice(0, done), publicKeys);
          expect(blackHoles(mesh), `after ${done} steps`).toEqual([]);
        }
      }),
      75,
    );
  });

  test("the firewall is there before any device that could deliver a packet past it", () => {
    const makesDevice = ["addLink", "startUserspace", "changeLink"];
    let seen = 0;
    check(
      fc.property(meshes, (mesh) => {
        const steps = diffMesh(mesh, emptyMesh, options).map((step) => step.do);
        const firewall = steps.lastIndexOf("applyFirewall");
        const device = steps.findIndex((step) => makesDevice.includes(step));
        if (firewall < 0 || device < 0) return;
        seen++;
        expect(firewall).toBeLessThan(device);
      }),
    );
    expect(seen).toBeGreaterThan(0);
  });

  test("a peer that a route has led to until now goes after a wait, and nothing else is waited for", () => {
    let waited = 0;
    check(
      fc.property(meshes, meshesOrNone, (from, to) => {
        const steps = diffMesh(to, from, options);
        const wait = steps.findIndex((step) => step.do === "wait");
        const before = applyToModel(from, steps.slice(0, Math.max(wait, 0)), publicKeys);
        const isLeft = leftWays(to, from).length > 0;
        expect(wait >= 0).toBe(isLeft);
        if (!isLeft) return;
        waited++;
        expect(leftWays(before, from)).toEqual([]);
        expect(tunnelWays(before).filter((way) => !tunnelWays(to).includes(way))).toEqual([]);
      }),
    );
    expect(waited).toBeGreaterThan(50);
  });

  test("an allowed IP belongs to one peer of a device", () => {
    check(
      fc.property(meshes, ({ devices }) => {
        for (const [dev, device] of devices) {
          const all = [...device.peers.values()].flatMap((peer) => peer.allowedIPs);
          expect(new Set(all).size, dev).toBe(all.length);
        }
      }),
    );
  });
});

/**
 * Sysctls of the node outlive the devices, and a device without peers keeps the NAPI threading that
 * it had; a peer without an endpoint to send to keeps the one that it had; everything else must match.
 */
function wanted(reached: Mesh, to: Mesh): string[] {
  const kept = [...reached.sysctls].filter(([path]) => to.sysctls.has(path) && to.links.size > 0);
  const links = [...reached.links].map(([dev, { threaded, ...link }]): [string, MeshLink] => {
    const matters = to.links.get(dev)?.threaded !== undefined;
    return [dev, matters ? { ...link, threaded: threaded ?? false } : link];
  });
  const devices = [...reached.devices].map(([dev, device]): [string, MeshDevice] => {
    const peers = [...device.peers].map(([key, { endpoint, ...peer }]): [string, MeshPeer] => {
      const isKept = to.devices.get(dev)?.peers.get(key)?.endpoint === undefined;
      return [key, isKept || endpoint === undefined ? peer : { ...peer, endpoint }];
    });
    return [dev, { ...device, peers: new Map(peers) }];
  });
  const stated = { links: new Map(links), devices: new Map(devices), sysctls: new Map(kept) };
  return printMesh({ ...reached, ...stated });
}

const tunnelWays = ({ routes }: Mesh): string[] =>
  routes.filter(({ type }) => type === "unicast").map(({ dev, table, dst }) => `${dev} ${table} ${dst}`);

/** Routes of `before` that led to a peer of a device which `after` does not have there, and lead there no more. */
function leftWays(after: Mesh, before: Mesh): string[] {
  const stay = tunnelWays(after);
  const left = before.routes.filter(({ dev, dst }) => {
    const [key] = [...(before.devices.get(dev ?? "")?.peers ?? [])].find(([, { allowedIPs }]) =>
      allowedIPs.includes(dst),
    ) ?? [""];
    return !after.devices.get(dev ?? "")?.peers.has(key);
  });
  return tunnelWays({ ...before, routes: left }).filter((way) => !stay.includes(way));
}

function blackHoles(mesh: Mesh): string[] {
  return mesh.routes
    .filter((route) => route.type === "unicast")
    .filter((route) => {
      const device = mesh.devices.get(route.dev ?? "");
      return ![...(device?.peers.values() ?? [])].some((peer) => peer.allowedIPs.includes(route.dst));
    })
    .map((route) => `${route.dst} dev ${route.dev}`);
}

test("`plan` shows the wait between the last route to a peer and the peer's end", () => {
  const mesh = findMesh(({ routes }) => routes.some(({ type }) => type === "unicast"));
  const commands = diffMesh(emptyMesh, mesh, options).flatMap(renderStep);
  const wait = commands.indexOf("sleep 0.2");
  const isOf = (pattern: RegExp) => (command: string) => pattern.test(command);
  expect(commands.filter(isOf(/^sleep/))).toHaveLength(1);
  const lastRoute = commands.findLastIndex(isOf(/route delete .* dev wg-cni-/));
  expect(lastRoute).toBeGreaterThanOrEqual(0);
  expect(lastRoute).toBeLessThan(wait);
  expect(commands.findIndex(isOf(/^ip link delete/))).toBeGreaterThan(wait);
});

describe("what a change costs", () => {
  const base = findMesh(({ devices }) => devices.get("wg-cni-a")?.peers.size === 3);
  const device = base.devices.get("wg-cni-a") as NonNullable<ReturnType<typeof base.devices.get>>;
  const [publicKey, peer] = [...device.peers][0] as [string, MeshPeer];

  function observedWith(change: Partial<typeof peer>): Mesh {
    const peers = new Map(device.peers).set(publicKey, { ...peer, ...change });
    return { ...base, devices: new Map(base.devices).set("wg-cni-a", { ...device, peers }) };
  }
  const commands = (observed: Mesh, desired = base) =>
    diffMesh(desired, observed, options).flatMap(renderStep);

  test("a changed keepalive reaches the peer that is there, and only it", () => {
    const before = peer.keepaliveSeconds === 0 ? 25 : 0;
    const now = peer.keepaliveSeconds === 0 ? "off" : String(peer.keepaliveSeconds);
    expect(commands(observedWith({ keepaliveSeconds: before }))).toEqual([
      `wg set wg-cni-a peer ${publicKey} persistent-keepalive ${now}`,
    ]);
  });

  test("a shorter keepalive begins at once: the kernel waits for the end of the longer one", () => {
    const shorter = new Map(device.peers).set(publicKey, { ...peer, keepaliveSeconds: 5 });
    const desired = {
      ...base,
      devices: new Map(base.devices).set("wg-cni-a", { ...device, peers: shorter }),
    };
    expect(commands(observedWith({ keepaliveSeconds: 25 }), desired)).toEqual([
      `wg set wg-cni-a peer ${publicKey} persistent-keepalive off`,
      `wg set wg-cni-a peer ${publicKey} persistent-keepalive 5`,
    ]);
    expect(commands(observedWith({ keepaliveSeconds: 2 }), desired)).toEqual([
      `wg set wg-cni-a peer ${publicKey} persistent-keepalive 5`,
    ]);
  });

  describe("sessions that a device has lost", () => {
    const greeting = ["1", "off"].map(
      (keepalive) => `wg set wg-cni-a peer ${publicKey} persistent-keepalive ${keepalive}`,
    );
    /** Of the device's peers, the gate is open to one. */
    const withOpen = (change: Partial<typeof peer> = {}): Mesh => {
      const peers = new Map(
        [...device.peers].map(([one, its]) => [one, { ...its, keepaliveSeconds: 0, isOpen: false }]),
      );
      peers.set(publicKey, { ...peer, keepaliveSeconds: 0, isOpen: true, ...change });
      return { ...base, devices: new Map(base.devices).set("wg-cni-a", { ...device, peers }) };
    };
    const seenWithout = (mesh: Mesh, absent: readonly string[], up = true): Mesh => {
      const { peers } = mesh.devices.get("wg-cni-a") as typeof device;
      const left = new Map([...peers].filter(([one]) => !absent.includes(one)));
      const link = base.links.get("wg-cni-a") as MeshLink;
      return {
        ...mesh,
        devices: new Map(mesh.devices).set("wg-cni-a", { ...device, peers: left }),
        links: new Map(mesh.links).set("wg-cni-a", { ...link, up }),
      };
    };
    const greetings = (desired: Mesh, observed: Mesh) =>
      commands(observed, desired).filter((command) => /keepalive (1|off)$/.test(command));

    test("a device that was down greets the peers whose gate is open, once it is up", () => {
      const desired = withOpen();
      const all = commands(seenWithout(desired, [], false), desired);
      expect(all).toEqual(["ip link set wg-cni-a up", ...greeting]);
    });

    test("a device that is made anew too, after its peers", () => {
      const desired = withOpen();
      const all = commands(emptyMesh, desired);
      const at = all.indexOf(greeting[0] as string);
      expect(all.slice(at, at + 2)).toEqual(greeting);
      expect(all.findIndex((command) => command.includes("ip link set wg-cni-a up"))).toBeLessThan(at);
      expect(all.findIndex((command) => command.includes(`${publicKey} endpoint`))).toBeLessThan(at);
    });

    test("of a device that is up, only those that were taken off", () => {
      const desired = withOpen();
      const others = [...device.peers.keys()].filter((one) => one !== publicKey);
      expect(greetings(desired, seenWithout(desired, [publicKey]))).toEqual(greeting);
      expect(greetings(desired, seenWithout(desired, others))).toEqual([]);
    });

    test("no handshake is initiated with a peer whose keepalive does so anyway, or whose gate is closed", () => {
      const [kept, closed] = [withOpen({ keepaliveSeconds: 25 }), withOpen({ isOpen: false })];
      for (const desired of [kept, closed])
        expect(greetings(desired, seenWithout(desired, [publicKey], false))).toEqual([]);
    });
  });

  test("a preshared key that is not desired is removed", () => {
    const steps = diffMesh(base, observedWith({ hasPresharedKey: true }), options);
    expect(steps).toEqual([
      {
        do: "configureDevice",
        dev: "wg-cni-a",
        config: { peers: [{ publicKey, presharedKey: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }] },
      },
    ]);
  });

  test("a roamed endpoint is kept while its handshake is fresh, pinned again when stale or when its record changed", () => {
    const roamed = { endpoint: { ip: "198.51.100.9", port: 4000 } };
    const fresh = observedWith({ ...roamed, lastHandshakeMs: options.nowMs - 60_000 });
    const stale = observedWith({ ...roamed, lastHandshakeMs: options.nowMs - 181_000 });
    const mayRoam = (may: boolean): Mesh => {
      const peers = new Map(device.peers).set(publicKey, { ...peer, mayRoam: may });
      return { ...base, devices: new Map(base.devices).set("wg-cni-a", { ...device, peers }) };
    };
    expect(commands(fresh, mayRoam(true))).toEqual([]);
    const { ip, port } = peer.endpoint as NonNullable<typeof peer.endpoint>;
    const pinned = [
      `wg set wg-cni-a peer ${publicKey} endpoint ${ip.includes(":") ? `[${ip}]` : ip}:${port}`,
    ];
    expect(commands(stale, mayRoam(true))).toEqual(pinned);
    expect(commands(fresh, mayRoam(false))).toEqual(pinned);
  });

  test("NAPI threading is switched after the peers are there, only if it differs", () => {
    const threads = (threaded: boolean | undefined): Mesh => {
      const { threaded: _, ...link } = base.links.get("wg-cni-a") as MeshLink;
      const changed = threaded === undefined ? link : { ...link, threaded };
      return { ...base, links: new Map(base.links).set("wg-cni-a", changed) };
    };
    const on = "echo 1 > /sys/class/net/wg-cni-a/threaded";
    expect(commands(threads(false), threads(true))).toEqual([on]);
    expect(commands(threads(true), threads(false))).toEqual(["echo 0 > /sys/class/net/wg-cni-a/threaded"]);
    expect(commands(threads(true), threads(true))).toEqual([]);
    // Not to be read, which is as off: on is tried and says why it fails, off costs nothing.
    expect(commands(threads(undefined), threads(true))).toEqual([on]);
    expect(commands(threads(undefined), threads(false))).toEqual([]);
    // Without peers the kernel refuses it: what there is stays.
    expect(commands(threads(true), threads(undefined))).toEqual([]);
    const all = commands(emptyMesh, threads(true));
    expect(all.indexOf(on)).toBeGreaterThan(all.findIndex((line) => line.startsWith("wg set wg-cni-a peer")));
  });

  test("a device without peers is asked for no threads", () => {
    check(
      fc.property(meshes, ({ links, devices }) => {
        for (const [dev, { threaded }] of links)
          expect(threaded !== undefined).toBe((devices.get(dev)?.peers.size ?? 0) > 0);
      }),
    );
  });

  test("an allowed IP too many leaves by the sink, without touching the rest", () => {
    const lines = commands(observedWith({ allowedIPs: [...peer.allowedIPs, "10.99.0.0/24"] }));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toEndWith("allowed-ips +10.99.0.0/24");
    expect(lines[1]).toEndWith("remove");
    expect(lines.join()).not.toContain(publicKey);
  });

  test("foreign routes in our tables go, doubled rules go, and nothing else", () => {
    const stray = {
      family: 4,
      table: 18099,
      type: "unicast",
      dst: "10.77.0.0/16",
      dev: "eth0",
      scope: "link",
      protocol: 4,
    } as const;
    const rule = base.rules.find(({ priority }) => priority === 98) as (typeof base.rules)[0];
    const lines = commands({ ...base, routes: [...base.routes, stray], rules: [...base.rules, rule] });
    const doubled = "priority 98 lookup 18099 protocol 118";
    // The kernel chooses which of the two it deletes: both go, and ours is made anew.
    expect(lines).toEqual([
      `ip rule delete ${doubled}`,
      `ip rule delete ${doubled}`,
      `ip rule add ${doubled}`,
      "ip route delete 10.77.0.0/16 dev eth0 table 18099 proto 4 scope link",
    ]);
  });
});

test("steps print no private key and the node's name occurs in no step", () => {
  const steps = diffMesh(
    findMesh(() => true),
    emptyMesh,
    options,
  );
  const text = steps.flatMap(renderStep).join("\n");
  expect(text).toContain("private-key <(key of slot a)");
  expect(text).not.toContain(localRecord.name);
});
