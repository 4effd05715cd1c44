// The names of interfaces that a runtime's call holds, while interfaces come and go under the same name.
import { afterAll, expect, test } from "bun:test";
import type { Address } from "../../../src/net/objects.ts";
import { Rtnl } from "../../../src/netlink/rtnl.ts";
import { describeKernel, Namespace, removeNamespaces } from "../support/namespaces.ts";

afterAll(removeNamespaces);

describeKernel("names of interfaces", () => {
  test("names that a call holds follow its own links, and are asked for again in the next call", () => {
    const namespace = new Namespace();
    using rtnl = Rtnl.open(namespace.path);
    const veth = { kind: "veth", name: "v2", peer: { name: "v3" } } as const;
    const address: Address = {
      ...{ dev: "v2", ip: "10.4.0.1", length: 32 },
      ...{ scope: "global", noPrefixRoute: true, noDad: false },
    };
    rtnl.holdNames();
    for (let i = 0; i < 2; i++) {
      expect(rtnl.batch().addLink(veth).addAddress(address).send()).toEqual([undefined, undefined]);
      expect(rtnl.addresses("v2")).toEqual([address]);
      expect(rtnl.batch().deleteLink("v2").send()).toEqual([undefined]);
    }
    namespace.ip("link add v2 type veth peer name v3");
    expect(rtnl.hasLinks(["v2", "v3"])).toBe(true);
    expect(rtnl.addresses("v2")).toEqual([]);
    namespace.ip("link del v2");
    namespace.ip("link add v2 type veth peer name v3");
    namespace.ip("address add 10.4.0.1/32 dev v2");
    rtnl.holdNames();
    expect(rtnl.addresses("v2").map(({ ip }) => ip)).toContain("10.4.0.1");
    namespace.ip("link del v2");
    expect(rtnl.hasLinks(["v2", "lo"])).toBe(false);
  });
});
