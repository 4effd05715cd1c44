// The peers that a model's node may have: records of nodes that do not run.
import type { Action } from "./actions.ts";
import type { Peer } from "./model.ts";

type Import = Extract<Action, { do: "import" }>;

/** The peer as the model has it. */
export function peerOf({ peer, keys, wide, moved }: Import): Peer {
  const number = Number(peer.slice(1));
  const key = (slot: number) => Buffer.alloc(32, 16 * number + 2 * keys + slot).toString("base64");
  return {
    publicKeys: [key(0), key(1)],
    endpoint: `192.0.2.${moved ? 100 + number : number}`,
    podCIDRs: [`10.244.${number}.0/24`, ...(wide ? [`10.244.${100 + number}.0/24`] : [])],
  };
}

/** The record that `peer import` reads. */
export function recordOf(name: string, { publicKeys, endpoint, podCIDRs }: Peer): object {
  return {
    ...{ name, podCIDRs, endpoints: [endpoint], nodeIPs: [endpoint] },
    slots: publicKeys.map((publicKey, i) => ({
      ...{ slot: "ab"[i], publicKey, port: 51820 + i, state: "active" },
    })),
  };
}
