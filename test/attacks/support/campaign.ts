// Plays rounds, judges what was seen, and says by which command a breach is seen again.
import { waitUntil } from "../../lab/wait.ts";
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

/** Returns what was wrong. */
export async function playRound(site: Site, round: Round, played: Played): Promise<string[]> {
  await site.set(round.settings);
  return play(site, round, played);
}

/** The same without the tables of the product, which is the control: places from which something forged arrives. */
export async function playUndefended(site: Site, round: Round): Promise<Set<string>> {
  await site.set(round.settings);
  site.disarm();
  const wrong = await play(site, round, { attacks: 0, honest: 0 });
  return new Set(wrong.flatMap((text) => /"place":"(\w+)"/.exec(text)?.[1] ?? []));
}

async function play(site: Site, { settings, attacks, honest }: Round, played: Played): Promise<string[]> {
  site.seen();
  const sent = new Map<number, Attack>();
  const seen: Seen[] = [];
  const send = (attack: Attack) => {
    const id = ++ids;
    sent.set(id, attack);
    site.send(attack, id);
    return id;
  };
  for (const attack of attacks) {
    send(attack);
    seen.push(...site.seen());
  }
  const expected = new Map(honest.map((one) => [send(one), destinationOf(one)]));
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
    `${what}\n  ATTACK_CASE='${JSON.stringify({ settings, attacks: [sent.get(id)] })}' ./scripts/test attacks/every`;
  return [
    ...lost.map((id) => describe(id, `an honest packet does not arrive at "${expected.get(id)}"`)),
    ...breaches(settings, sent, seen).map(([id, what]) => describe(id, what)),
  ];
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
