// All targets, by the order in which a run takes them.
import type { Target } from "./target.ts";
import { acknowledgements } from "./targets/acknowledgements.ts";
import { cniCall } from "./targets/cni-call.ts";
import { cniInput } from "./targets/cni-input.ts";
import { conflist } from "./targets/conflist.ts";
import { httpRequest } from "./targets/http-request.ts";
import { kernelEvents } from "./targets/kernel-events.ts";
import { kubeObjects } from "./targets/kube-objects.ts";
import { nftables } from "./targets/nftables.ts";
import { nodeRecords } from "./targets/node-records.ts";
import { pluginSocket } from "./targets/plugin-socket.ts";
import { rtnetlink } from "./targets/rtnetlink.ts";
import { sealedKey } from "./targets/sealed-key.ts";
import { uapi } from "./targets/uapi.ts";
import { watchStream } from "./targets/watch-stream.ts";
import { wireguardNetlink } from "./targets/wireguard-netlink.ts";

export const targets: readonly Target[] = [
  acknowledgements,
  kernelEvents,
  rtnetlink,
  wireguardNetlink,
  nftables,
  uapi,
  cniCall,
  cniInput,
  nodeRecords,
  kubeObjects,
  watchStream,
  conflist,
  sealedKey,
  httpRequest,
  pluginSocket,
];
