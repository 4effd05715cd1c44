// WireGuard's own protocol timers, in milliseconds, under the names of the whitepaper (section 6.1)
// and of the kernel's drivers/net/wireguard/messages.h. Decisions about peers are measured by them;
// the gate's own timing is derived from them in plan/peers/gate-timers.ts.

/** REKEY_AFTER_TIME: the node that began a session makes a new handshake when the session is this old. */
export const rekeyAfterMs = 120_000;

/** REJECT_AFTER_TIME: a session carries nothing any more this long after its handshake. */
export const rejectAfterMs = 180_000;

/** REKEY_TIMEOUT: an unanswered handshake initiation is repeated after this time. */
export const rekeyTimeoutMs = 5_000;

/** KEEPALIVE_TIMEOUT: a node that received packets and sent nothing for this long answers with a keepalive. */
export const keepaliveTimeoutMs = 10_000;
