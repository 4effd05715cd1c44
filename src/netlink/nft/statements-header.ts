// Statements about what the header of a packet has beside its addresses: options and extension headers.
import { NFT_CMP_EQ, NFT_CMP_NEQ, NFT_PAYLOAD_NETWORK_HEADER } from "../../wire/nftables-expressions.ts";
import { bitwise, compare, hasExtension, loadPayload } from "./expressions.ts";
import type { Codecs } from "./statement-codec.ts";
import { isFamily, matchFamily } from "./statements-address.ts";

/** The bits of the first byte that have the header's length, in units of four bytes (RFC 791, 3.1). */
const lengthMask = 0x0f;
const shortestLength = 5;
/** The number of the routing header (RFC 8200, 4.4). */
const routingNumber = 43;

export const headerStatements: Codecs<"ipOptions" | "routingHeader"> = {
  ipOptions: {
    encode: (_, known) => [
      ...isFamily(4, known),
      loadPayload(NFT_PAYLOAD_NETWORK_HEADER, 0, 1),
      bitwise(Uint8Array.of(lengthMask), Uint8Array.of(0)),
      compare(NFT_CMP_NEQ, Uint8Array.of(shortestLength)),
    ],
    match: (expressions, known) => {
      const { family, rest } = matchFamily(expressions, known);
      return family === 4 && rest[0]?.name === "payload" ? { kind: "ipOptions" } : undefined;
    },
  },
  routingHeader: {
    encode: (_, known) => [
      ...isFamily(6, known),
      hasExtension(routingNumber),
      compare(NFT_CMP_EQ, Uint8Array.of(1)),
    ],
    match: (expressions, known) => {
      const { family, rest } = matchFamily(expressions, known);
      return family === 6 && rest[0]?.name === "exthdr" ? { kind: "routingHeader" } : undefined;
    },
  },
};
