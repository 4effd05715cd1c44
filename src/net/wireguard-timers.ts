// WireGuard's own protocol timers, in milliseconds (whitepaper, section 6.1; the
// kernel's drivers/net/wireguard/messages.h). Decisions about peers are measured by them.

/** REJECT_AFTER_TIME: a session carries nothing any more this long after its handshake. */
export const handshakeFreshMs = 180_000;
