// The virtual machine itself: its kernel has WireGuard, and the built plugin
// runs on it. Everything else in test/vm stands on these.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Machine, unavailable } from "./machine.ts";

const reason = unavailable();

describe.skipIf(reason !== undefined)(
  `Debian's kernel in a virtual machine${reason ? ` (${reason})` : ""}`,
  () => {
    setDefaultTimeout(60_000);
    let machine: Machine;
    beforeAll(async () => {
      machine = await Machine.boot();
    }, 180_000);
    afterAll(async () => await machine?.[Symbol.asyncDispose]());

    test("has WireGuard, loaded on demand", async () => {
      await machine.check("ip link add wgt0 type wireguard && ip link set wgt0 up");
      expect(await machine.check("wg show interfaces")).toBe("wgt0\n");
      expect(await machine.check("cut -d' ' -f1 /proc/modules")).toContain("wireguard\n");
    });

    test("carries packets between two namespaces through WireGuard", async () => {
      const output = await machine.check(`
      set -e
      cd /tmp
      umask 077
      for n in 1 2; do
        ip netns add wgt$n
        wg genkey >key$n
        ip -n wgt$n link add wg0 type wireguard
      done
      ip link add u1 netns wgt1 type veth peer name u2 netns wgt2
      for n in 1 2; do
        other=$((3 - n))
        ip -n wgt$n address add 192.0.2.$n/24 dev u$n
        ip -n wgt$n link set u$n up
        ip -n wgt$n address add 10.0.0.$n/24 dev wg0
        ip netns exec wgt$n wg set wg0 private-key key$n listen-port 51820 \
          peer $(wg pubkey <key$other) endpoint 192.0.2.$other:51820 allowed-ips 10.0.0.$other/32
        ip -n wgt$n link set wg0 up
      done
      ip netns exec wgt1 ping -q -c 3 -i 0.2 10.0.0.2`);
      expect(output).toContain(" 0% packet loss");
    });

    test("has nftables and Debian's CNI plugins", async () => {
      await machine.check("nft add table inet wgt && nft list tables");
      expect(await machine.check("CNI_COMMAND=VERSION /usr/lib/cni/ptp </dev/null || true")).toContain(
        "cniVersion",
      );
    });

    test("runs the built plugin", async () => {
      const { exitCode } = await machine.run("/opt/cni/bin/wg-cni version");
      expect(exitCode).toBe(0);
    });

    test("tells the status and output of a script that fails", async () => {
      expect(await machine.run("echo out; echo err >&2; exit 3")).toEqual({
        output: "out\nerr\n",
        exitCode: 3,
      });
    });
  },
);
