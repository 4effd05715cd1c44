// A process that works on a state directory as the CNI path does, for tests that
// need several of them or need one to die.
//
//   child.ts add STATEDIR BOOT CONTAINER [DIE_AT]  takes an address, exits without closing;
//                                                  kills itself before statement DIE_AT
//   child.ts addloop STATEDIR BOOT PREFIX          the same for ever, printing each commit
//   child.ts hold STATEDIR BOOT                    keeps the write lock until it is killed
import { allocate } from "../../src/ipam/allocate.ts";
import { rangeSetsOfPodCIDRs } from "../../src/ipam/range.ts";
import { syscall } from "../../src/linux/syscall.ts";
import { Store } from "../../src/state/store.ts";
import { attachment, owner } from "./samples.ts";

const [verb = "", stateDir = "", boot = "", name = "", dieAtText = ""] = process.argv.slice(2);
const dieAt = Number(dieAtText || Number.NaN);
const sets = rangeSetsOfPodCIDRs(["10.1.0.0/24", "fd00::/120"]);
let statement = 0;

const store = Store.open(stateDir, boot);
if (verb === "add") console.log(add(name));
else if (verb === "addloop") for (let i = 0; ; i++) console.log(loop(`${name}-${i}`));
else if (verb === "hold")
  store.transaction(() => {
    store.putAttachment(attachment(owner("held")));
    console.log("held");
    for (;;) Bun.sleepSync(1000);
  });
syscall("exit_group", "", 0);

/** Adds one and, so that the range does not run out, removes it again. */
function loop(containerID: string): string {
  const ips = add(containerID);
  point(() => store.removeAttachment(owner(containerID)));
  return ips;
}

function add(containerID: string): string {
  const of = owner(containerID);
  const ips = store.transaction(() => {
    const taken = sets.map((set, rangeSet) => {
      const last = store.lastLease(of.network, rangeSet);
      const found = allocate(set, { isTaken: (ip) => store.isLeased(of.network, ip), last });
      if (!found.ok) throw new Error(found.message);
      point(() => store.putLease({ owner: of, ip: found.ip, rangeSet }));
      return found.ip;
    });
    point(() => store.putAttachment(attachment(of, { ips: taken, role: "standalone" })));
    point(() => undefined);
    return taken;
  });
  point(() => undefined);
  return ips.join(" ");
}

function point<T>(inside: () => T): T {
  if (statement++ === dieAt) process.kill(process.pid, "SIGKILL");
  return inside();
}
