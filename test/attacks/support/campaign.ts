// Plays rounds, judges what was seen, and says by which command a breach is seen again.

import { waitUntil } from "../../lab/wait.ts";
import type { Random } from "../../plan/random.ts";
import type { Attack, Round, Settings } from "./draw.ts";
import { destinationOf, findBreach, type Seen } from "./rules.ts";
import type { Site } from "./site.ts";

export interface Played {
  attacks: number;
  honest: number;
}

/** After the last honest packet, which was sent last and has arrived, for what took a longer way. */
const graceMs = 200;
const arrivalMs = 10_000;
let ids = 0;

/** Returns what was wrong. The attacks fly again and again until the deed is done, and once after that. */
export async function playRound(site: Site, round: Round, played: Played, random: Random): Promise<string[]> {
  const { settings, deed } = round;
  await site.set(settings);
  if (deed === undefined) return play(site, round, played);
  const wrong: string[] = [];
  let isDone = false;
  const acting = site.deeds
    .act(deed, random)
    .catch((error: Error) => wrong.push(`the deed "${deed}" fails: ${error.message}`))
    .finally(() => {
      isDone = true;
    });
  for (let isLast = false; !isLast; ) {
    isLast = isDone;
    site.again();
    // What another program has damaged defends nothing until it is repaired.
    if (deed === "repair" && !isLast) await harass(site, round);
    else wrong.push(...(await play(site, round, played)));
  }
  await acting;
  return wrong;
}

/** Sends the attacks, and leaves out what becomes of them. */
async function harass(site: Site, { attacks }: Round): Promise<void> {
  for (const attack of attacks) {
    site.send(attack, ++ids);
    site.seen();
  }
  await Bun.sleep(graceMs);
}

/** The same without the tables of the product, which is the control: places from which something forged arrives. */
export async function playUndefended(site: Site, round: Round): Promise<Set<string>> {
  await site.set(round.settings);
  const wrong = await site.deeds.withoutAgents(() => {
    site.disarm();
    return play(site, round, { attacks: 0, honest: 0 });
  });
  return new Set(wrong.flatMap((text) => /"place":"(\w+)"/.exec(text)?.[1] ?? []));
}

async function play(
  site: Site,
  { settings, attacks, honest, deed }: Round,
  played: Played,
): Promise<string[]> {
  site.seen();
  const sent = new Map<number, Attack>();
  const seen: Seen[] = [];
  const send = (attack: Attack) => {
    const id = ++ids;
    sent.set(id, attack);
    site.send(attack, id);
    return id;
  };
  for (const attack of byAim(attacks)) {
    send(attack);
    seen.push(...site.seen());
  }
  const expected = new Map(byAim(honest).map((one) => [send(one), destinationOf(one)]));
  const missing = () => {
    seen.push(...site.seen());
    const arrived = new Set(seen.filter(({ isError }) => !isError).map(({ id, at }) => `${id} ${at}`));
    return [...expected].filter(([id, at]) => !arrived.has(`${id} ${at}`)).map(([id]) => id);
  };
  const lost = await waitUntil(() => missing().length === 0, {
    ...{ what: "the honest packets", timeoutMs: arrivalMs },
  }).then(
    () => [],
    () => missing(),
  );
  await Bun.sleep(graceMs);
  seen.push(...site.seen());
  played.attacks += attacks.length;
  played.honest += honest.length;
  const describe = (id: number, what: string) =>
    `${what}\n  ATTACK_CASE='${JSON.stringify({ settings, attacks: [sent.get(id)], deed })}' ./scripts/test attacks/every`;
  return [
    ...lost.map((id) => describe(id, `an honest packet does not arrive at "${expected.get(id)}"`)),
    ...breaches(settings, sent, seen).map(([id, what]) => describe(id, what)),
  ];
}

/** Each tunnel of the attacker leads to one node at a time, so that what goes to the same one is sent together. */
function byAim(attacks: readonly Attack[]): Attack[] {
  const aim = ({ place, slot = "a", node }: Attack) => (place === "tunnel" ? `${slot}${node}` : "");
  return [...attacks].sort((one, other) => (aim(one) < aim(other) ? -1 : aim(one) > aim(other) ? 1 : 0));
}

function breaches(
  settings: Settings,
  sent: ReadonlyMap<number, Attack>,
  seen: readonly Seen[],
): [number, string][] {
  const found = new Map<number, Map<string, string>>();
  for (const one of seen) {
    const attack = sent.get(one.id);
    const why = attack && findBreach(settings, attack, one);
    if (why === undefined) continue;
    const places = found.get(one.id) ?? new Map<string, string>();
    found.set(one.id, places.set(one.at, why));
  }
  return [...found].map(([id, places]) => [id, [...places].map(([at, why]) => `${why}: "${at}"`).join("; ")]);
}
