// Sealed private keys in the store: whatever bytes are there, they open as what was sealed or not at all.
import { openPrivateKey, sealPrivateKey } from "../../../src/state/seal.ts";
import { hold, type Target } from "../target.ts";

const sealKey = new Uint8Array(32).fill(7);
const context = { node: "node-1", slot: "a" } as const;
const privateKey = new Uint8Array(32).fill(9).toBase64();
/** The bytes that open; the corpus has them, too. */
const sealed = sealPrivateKey(sealKey, context, privateKey, (bytes) => new Uint8Array(bytes).fill(5)).toHex();

export const sealedKey: Target = {
  name: "sealed-key",
  form: "bytes",
  refusals: ["SealError"],
  run(input) {
    const opened = openPrivateKey(sealKey, context, input);
    hold("only what was sealed opens", input.toHex() === sealed && opened === privateKey);
    return opened.length;
  },
};
