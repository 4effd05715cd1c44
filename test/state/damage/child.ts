// Damages stores by seeds, and uses each as the plugin and the agent do. It prints one line of JSON for each: the
// seed, what was damaged, what the store refused, and what it must not have done.
//
//   child.ts DIRECTORY FIRST COUNT
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { toCniError } from "../../../src/cni/error.ts";
import { reserveAddresses } from "../../../src/cni/verbs/addresses.ts";
import { rangeSetsOfPodCIDRs } from "../../../src/ipam/range.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import { Store } from "../../../src/state/store.ts";
import { makeRandom } from "../../plan/random.ts";
import { attachment, owner } from "../samples.ts";
import { damage } from "./damage.ts";
import {
  boot,
  formerIdentity,
  killed,
  knownAttachments,
  knownLeases,
  knownPeers,
  liveIPs,
  makeTemplate,
  podCIDRs,
  presentIdentity,
  textOf,
} from "./store.ts";

export interface Outcome {
  readonly seed: number;
  readonly what: string;
  /** Sentences of the store's refusals. */
  readonly refusals: readonly string[];
  readonly violations: readonly string[];
  readonly ms: number;
}

const [directory = "", first = "0", count = "1"] = process.argv.slice(2);
const template = makeTemplate(`${directory}/template`);
const sets = rangeSetsOfPodCIDRs(podCIDRs);
for (let seed = Number(first); seed < Number(first) + Number(count); seed++)
  process.stdout.write(`${JSON.stringify(runCase(seed))}\n`);

function runCase(seed: number): Outcome {
  const { files, what } = damage(template.files, template.olderLog, makeRandom(seed));
  const dir = `${directory}/case`;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { mode: 0o700 });
  for (const [name, bytes] of files) writeFileSync(`${dir}/${name}`, bytes, { mode: 0o600 });
  const began = performance.now();
  const found = use(dir);
  return { seed, what, ...found, ms: Math.round(performance.now() - began) };
}

function use(dir: string): Pick<Outcome, "refusals" | "violations"> {
  const refusals: string[] = [];
  const violations: string[] = [];
  /** Every other error than a refusal in words is a trace on somebody's terminal. */
  const attempt = <T>(inside: () => T): T | undefined => {
    try {
      return inside();
    } catch (error) {
      const { code, message } = toCniError(error);
      if (code === 100) violations.push(`trace: ${message}`);
      else refusals.push(message);
      return undefined;
    }
  };
  const store = attempt(() => Store.open(dir, boot));
  if (store === undefined) return { refusals, violations };
  const forbid = (is: boolean, what: string) => void (is && violations.push(what));
  attempt(() => {
    const identity = store.identity();
    forbid(identity === undefined, "no identity, so a new one would be made");
    const text = textOf(identity);
    forbid(text === textOf(formerIdentity), "an older identity");
    forbid(
      identity !== undefined && text !== textOf(presentIdentity) && text !== textOf(formerIdentity),
      `another identity: ${text}`,
    );
  });
  attempt(() => forbid(parseSettings(store.settings()).mode !== "strict", "another mode"));
  attempt(() => {
    for (const { record, claims } of store.peers()) {
      forbid(!knownPeers.has(textOf(record)), `another peer: ${textOf(record)}`);
      claims();
    }
  });
  attempt(() => {
    for (const one of store.attachments())
      forbid(!knownAttachments.has(textOf(one)), `another attachment: ${textOf(one)}`);
  });
  attempt(() => {
    for (const one of store.leases()) forbid(!knownLeases.has(textOf(one)), `another lease: ${textOf(one)}`);
  });
  attempt(() => [store.paths(), store.rotation(), store.lapses(), store.applied(), store.announced()]);
  const given: string[] = [];
  for (const of of [killed, owner("new-1"), owner("new-2")])
    attempt(() => given.push(...reserve(store, of, given)));
  for (const ip of given) forbid(liveIPs.has(ip), `${ip} given again`);
  forbid(new Set(given).size < given.length, `one address for two: ${given}`);
  attempt(() => store[Symbol.dispose]());
  return { refusals: [...new Set(refusals)], violations };
}

function reserve(store: Store, of: typeof killed, before: readonly string[]): readonly string[] {
  return reserveAddresses(store, {
    ...{ owner: of, sets, requested: [] },
    // The pods that were added just now are in the kernel too.
    isInUse: (ip) => liveIPs.has(ip) || before.includes(ip),
    describe: (ips) => attachment(of, { ips, role: "standalone" }),
  });
}
