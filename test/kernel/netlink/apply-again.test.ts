// Steps that are applied a second time: what is there already, or gone already, is no failure; what
// somebody else has is one. With ip(8) as the reference for what is there.
import { afterAll, expect, test } from "bun:test";
import type { Address, Route, Rule } from "../../../src/net/objects.ts";
import type { Step } from "../../../src/plan/step.ts";
import { applySteps } from "../../../src/reconcile/apply.ts";
import { Kernel } from "../../../src/reconcile/kernel.ts";
import { waitUntil } from "../../lab/wait.ts";
import { describeKernel, Namespace, removeNamespaces } from "../support/namespaces.ts";

afterAll(removeNamespaces);

const netns = "pod";
const protocol = 118;

function address(family: 4 | 6): Address {
  const [ip, length] = family === 4 ? ["192.0.2.1", 24] : ["2001:db8::1", 64];
  return { dev: "veth0", ip, length, scope: "global", noPrefixRoute: true, noDad: true } as Address;
}
function route(family: 4 | 6): Route {
  const dst = family === 4 ? "198.51.100.0/24" : "2001:db8:1::/64";
  return { family, type: "unicast", dst, dev: "veth0", table: 18099, protocol, scope: "global" } as Route;
}
const rule = (family: 4 | 6): Rule =>
  ({ family, priority: 97, action: "lookup", table: 18099, protocol }) as Rule;

describeKernel("steps that are applied again", () => {
  const apply = (namespace: Namespace, steps: readonly Step[]) => {
    using kernel = new Kernel();
    kernel.enterPod(namespace.path);
    return applySteps(steps, kernel).map(({ error }) => (error as Error & { code?: string }).code);
  };
  const prepared = async () => {
    const namespace = new Namespace();
    namespace.ip("link add veth0 type veth peer name veth1");
    namespace.ip("link set veth0 addrgenmode none up");
    namespace.ip("link set veth1 addrgenmode none up");
    // The kernel notes a carrier some time after the link is up, and makes IPv6 routes then.
    await waitUntil(
      () =>
        namespace.json("link show").every(({ ifname, operstate }) => ifname === "lo" || operstate === "UP"),
      { what: "the carrier of both ends" },
    );
    return namespace;
  };

  for (const family of [4, 6] as const) {
    const add: Step[] = [
      { do: "addAddress", address: address(family), netns },
      { do: "addRule", rule: rule(family), netns },
    ];
    const remove: Step[] = [
      { do: "deleteRoute", route: route(family), netns },
      { do: "deleteRule", rule: rule(family), netns },
      { do: "deleteAddress", address: address(family), netns },
    ];

    test(`IPv${family}: what is there already is no failure and changes nothing`, async () => {
      const namespace = await prepared();
      expect(apply(namespace, [...add, { do: "replaceRoute", route: route(family), netns }])).toEqual([]);
      const before = namespace.picture();
      expect(before).toContain(route(family).dst);
      expect(apply(namespace, [...add, { do: "replaceRoute", route: route(family), netns }])).toEqual([]);
      expect(namespace.picture()).toBe(before);
    });

    test(`IPv${family}: what is gone already is no failure`, async () => {
      const namespace = await prepared();
      const before = namespace.picture();
      apply(namespace, [...add, { do: "addRoute", route: route(family), netns }]);
      expect(apply(namespace, remove)).toEqual([]);
      expect(namespace.picture()).toBe(before);
      expect(apply(namespace, remove)).toEqual([]);
      namespace.ip("link delete veth0");
      expect(apply(namespace, [...remove, { do: "deleteLink", dev: "veth0", netns }])).toEqual([]);
    });

    test(`IPv${family}: a route that must be new and is there is a failure`, async () => {
      const namespace = await prepared();
      const step: Step = { do: "addRoute", route: route(family), netns };
      expect(apply(namespace, [step, step])).toEqual(["EEXIST"]);
    });
  }

  test("a link whose name is taken is a failure, and the remaining steps are applied", async () => {
    const namespace = await prepared();
    const link = { kind: "veth" as const, name: "veth0", peer: { name: "veth2" } };
    const steps: Step[] = [
      { do: "addLink", link, netns },
      { do: "addRule", rule: rule(4), netns },
    ];
    expect(apply(namespace, steps)).toEqual(["EEXIST"]);
    expect(namespace.ip("rule show")).toContain("lookup 18099");
  });
});
