// `peer release` lets an operator take a peer out of the ratchet.
import { type Context, type Output, UsageError } from "./command.ts";
import { noSuchPeer } from "./peers.ts";
import { openSession, reportSync, syncAll } from "./session.ts";

export function peerRelease(context: Context): Output {
  const [name] = context.given.positional;
  if (name === undefined) throw new UsageError("peer release needs the peer's name");
  using session = openSession(context);
  const { store } = session;
  if (!store.peers().some(({ record }) => record.name === name)) throw noSuchPeer(session, name);
  if (!store.gated)
    throw new UsageError(
      `${name} has no gate: without an agent a peer with a key is always encrypted; \`wg-cni peer remove\` forgets it`,
    );
  const released = store.closeGate(name);
  const headline = released
    ? `Released ${name}: not encrypted until its next handshake`
    : `${name} was not encrypted, so there is nothing to release`;
  return reportSync(syncAll(session), headline);
}
