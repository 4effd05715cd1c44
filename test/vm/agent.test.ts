// The agent on real kernel WireGuard, in the virtual machine, where the clock
// may be set and a module may be missing: the wall clock is stepped by a day
// either way, and the kernel has no nftables. Two nodes, an agent on each.
// Witnesses are wg, ip and ping, all inside the machine.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { LogLine } from "../lab/agent.ts";
import { Machine, unavailable } from "./machine.ts";

const reason = unavailable();
const daySeconds = 86_400;
const testMs = 240_000;

/** Shell functions that the scripts below share: `node N COMMAND…`, `wgcni N …`, `until_true SECONDS COMMAND…`. */
const prelude = `
set -e
export PATH=/opt/cni/bin:$PATH
node() { local n=$1; shift; ip netns exec node$n "$@"; }
wgcni() { local n=$1; shift; node $n /opt/cni/bin/wg-cni "$@" --state-dir /tmp/state$n; }
start() {
  ip netns exec node$1 /opt/cni/bin/wg-cni agent --log-format json --state-dir /tmp/state$1 >>/tmp/log$1 2>&1 &
  echo $! >/tmp/pid$1
}
until_true() { local n=$1; shift; while ! "$@" >/dev/null 2>&1; do n=$((n - 1)); [ $n -gt 0 ] || return 1; sleep 1; done; }
routed() { node 1 ip route show table 18099 exact 10.2.0.0/24 | grep -q "dev wg-cni-"; }
forget() {
  node $1 wg set wg-cni-$2 peer $(jq -r '.slots[] | select(.slot == "'$2'").publicKey' /tmp/record$((3 - $1))) remove
}
answers() { node 1 ping -q -c 1 -W 1 -I 10.1.0.1 10.2.0.1; }
`;

describe.skipIf(reason !== undefined)(`the agent on kernel WireGuard${reason ? ` (${reason})` : ""}`, () => {
  let machine: Machine;
  const run = (script: string) => machine.check(prelude + script, testMs);
  const log = async (node: number): Promise<LogLine[]> =>
    (await run(`cat /tmp/log${node}`))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));

  beforeAll(async () => {
    machine = await Machine.boot();
    await run(`
      rm /lib/modules/*/kernel/net/netfilter/nfnetlink.ko*
      ip netns add node1; ip netns add node2
      ip link add up1 netns node1 type veth peer name up2 netns node2
      for n in 1 2; do
        o=$((3 - n))
        node $n sysctl -qw net.ipv4.ip_forward=1
        node $n ip link set lo up
        node $n ip address add 192.0.2.$n/24 dev up$n
        node $n ip link add pod0 type bridge
        node $n ip address add 10.$n.0.1/32 dev pod0
        node $n ip link set pod0 up
        node $n ip link set up$n up
        node $n ip route add 10.$o.0.0/24 via 192.0.2.$o
        wgcni $n up --node node$n --endpoint 192.0.2.$n --node-ip 192.0.2.$n --pod-cidr 10.$n.0.0/24
        wgcni $n node show --json > /tmp/record$n
      done
      for n in 1 2; do start $n; done
      wgcni 1 peer import /tmp/record2
      wgcni 2 peer import /tmp/record1
      until_true 60 routed
      until_true 60 answers`);
  }, testMs);
  afterAll(() => machine?.[Symbol.asyncDispose]());

  test(
    "a kernel without nftables: said once, and traffic is encrypted all the same",
    async () => {
      const said = (await log(1)).filter(({ level }) => level === "warn" || level === "error");
      expect(said.map(({ message }) => message)).toEqual([
        expect.stringContaining("the kernel has no nftables"),
      ]);
      const { backend } = JSON.parse(await run("wgcni 1 status --json || true"));
      expect(backend).toBe("kernel");
    },
    testMs,
  );

  for (const [way, seconds] of [
    ["a day forward", daySeconds],
    ["two days back", -2 * daySeconds],
  ] as const)
    test(
      `the clock is stepped ${way}: one line says so, no packet is lost, and gates still open`,
      async () => {
        const before = (await log(1)).length;
        const pinged = await run(`
          node 1 ping -q -i 0.05 -c 240 -I 10.1.0.1 10.2.0.1 >/tmp/ping & ping=$!
          sleep 2
          date -s @$(($(date +%s) + ${seconds})) >/dev/null
          wait $ping || true
          until_true 60 sh -c 'tail -n +${before + 1} /tmp/log1 | grep -q stepped'
          cat /tmp/ping`);
        expect(pinged).toContain(" 0% packet loss");
        const said = await log(1);
        // At any time the agent may try the slot that carries nothing, which it says as information.
        const lines = said.slice(before).filter(({ level }) => level !== "info");
        const stepped = { level: "warn", message: expect.stringContaining("clock stepped") };
        expect(lines).toEqual([expect.objectContaining(stepped)]);
        expect(Math.abs(Number(lines[0]?.["seconds"]) - seconds)).toBeLessThan(10);
        // By an operator the peer is in plaintext; only a new handshake encrypts again. Both forget the session,
        // and the newest handshake they have seen: WireGuard takes no older one for two minutes or so.
        await run(`
          wgcni 1 peer release node2 >/dev/null
          for n in 1 2; do for d in a b; do forget $n $d; done; done
          until_true 60 routed
          until_true 20 answers`);
        // One that starts now finds handshakes of another day.
        await run(`
          kill -KILL $(cat /tmp/pid1); sleep 1
          said=$(wc -l </tmp/log1)
          start 1
          until_true 90 sh -c "tail -n +$((said + 1)) /tmp/log1 | grep -q 'health are served'"
          sleep 8
          routed; answers`);
        const started = (await log(1)).slice(said.length);
        // Without the lines about the peers that were forgotten by hand, and put back.
        const isAboutPeer = ({ peer, first }: Record<string, unknown>) =>
          peer !== undefined || first !== undefined;
        expect(
          started.filter(
            (line) => line.level !== "info" && !line.message.includes("nftables") && !isAboutPeer(line),
          ),
        ).toEqual([]);
      },
      testMs,
    );

  test(
    "mode off and back: no packet is lost, and in between handshakes are all there is",
    async () => {
      const said = await run(`
        node 1 ping -q -i 0.05 -c 500 -I 10.1.0.1 10.2.0.1 >/tmp/ping & ping=$!
        sleep 1
        for n in 1 2; do wgcni $n up --mode off >/dev/null; done
        left() { ! routed && [ "$(wgcni 1 status --json | jq -r '.peers[0].state')" = ready ]; }
        until_true 30 left
        sent() { node 1 wg show wg-cni-a transfer | cut -f 3; }
        still() { local before=$(sent); sleep 3; [ "$(sent)" = "$before" ]; }
        until_true 5 still
        node 1 wg show all persistent-keepalive
        for n in 1 2; do wgcni $n up --mode permissive >/dev/null; done
        until_true 30 routed
        wait $ping || true
        cat /tmp/ping`);
      expect(said).not.toMatch(/wg-cni-[ab]\t\S+\t[0-9]/);
      expect(said).toContain(" 0% packet loss");
    },
    testMs,
  );
});
