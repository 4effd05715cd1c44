// WireGuard's own messages, as far as this program sends any (drivers/net/wireguard/messages.h): WireGuard
// itself sends all those that mean something.

const MESSAGE_HANDSHAKE_INITIATION = 1;
const initiationBytes = 148;

/**
 * An initiation as every firewall on the way sees one. It proves no key (its MACs are zero), so that the
 * receiver's WireGuard drops it without an answer and without a change.
 */
export const emptyInitiation: Readonly<Uint8Array> = (() => {
  const message = new Uint8Array(initiationBytes);
  message[0] = MESSAGE_HANDSHAKE_INITIATION;
  return message;
})();
