// Sealing of private keys at rest: XChaCha20-Poly1305 under a key that lies in
// another file than the state, bound to the node and slot that the key is of.
// A copied state.db or a support bundle then reveals nothing; a user who can read
// both files, as root can, reads the keys. Not imported on the CNI path (2 ms).
//
//   nonce 24 bytes | ciphertext 44 bytes | tag 16 bytes
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { createFile, findStatus, isAbsent, mkdir, readFile } from "../linux/file.ts";
import { SysError } from "../linux/syscall.ts";
import { parseKey } from "../net/key.ts";
import type { Slot } from "../net/record.ts";

const sealKeyBytes = 32;
const nonceBytes = 24;

/** Source of random bytes. */
export type Random = (bytes: number) => Uint8Array;

/** The seal key cannot be read, or does not open what was sealed. */
export class SealError extends Error {
  override readonly name = "SealError";
}

/** The node and slot that a private key belongs to: a key that is sealed for one does not open as another's. */
export interface SealContext {
  readonly node: string;
  readonly slot: Slot;
}

/** The seal key at `path`. Throws SealError: without it sealed keys cannot be opened, and it is never replaced. */
export function readSealKey(path: string): Uint8Array {
  try {
    return checkedKey(path, readFile(path));
  } catch (error) {
    if (isAbsent(error))
      throw new SealError(
        `Cannot open the node's private keys: the seal key ${path} is missing. Restore it, or make new keys with \`wg-cni up --new-keys\` and give this node's record to its peers.`,
        { cause: error },
      );
    throw asSealError(path, error);
  }
}

/** Returns the seal key at `path`, and creates it if there is none. Throws SealError. */
export function readOrCreateSealKey(path: string, random: Random = secureRandom): Uint8Array {
  const directory = path.slice(0, path.lastIndexOf("/"));
  try {
    if (directory !== "") mkdir(directory, 0o700);
    if (findStatus(path) === undefined) createOnce(path, random(sealKeyBytes));
  } catch (error) {
    throw asSealError(path, error);
  }
  return readSealKey(path);
}

/** Seals a private key given as text. */
export function sealPrivateKey(
  sealKey: Uint8Array,
  context: SealContext,
  privateKey: string,
  random: Random = secureRandom,
): Uint8Array {
  const nonce = random(nonceBytes);
  const text = new TextEncoder().encode(parseKey(privateKey));
  const sealed = xchacha20poly1305(sealKey, nonce, contextBytes(context)).encrypt(text);
  const all = new Uint8Array(nonce.length + sealed.length);
  all.set(nonce);
  all.set(sealed, nonce.length);
  return all;
}

/** Returns the private key's text. Throws SealError if key, context or bytes are not those it was sealed with. */
export function openPrivateKey(sealKey: Uint8Array, context: SealContext, sealed: Uint8Array): string {
  try {
    const cipher = xchacha20poly1305(sealKey, sealed.slice(0, nonceBytes), contextBytes(context));
    return parseKey(new TextDecoder().decode(cipher.decrypt(sealed.slice(nonceBytes))));
  } catch (error) {
    throw new SealError(
      `Cannot open the private key of node ${context.node}, slot ${context.slot}: it was sealed with another seal key or for another node, or it is damaged.`,
      { cause: error },
    );
  }
}

function contextBytes({ node, slot }: SealContext): Uint8Array {
  return new TextEncoder().encode(`wg-cni private key\0${node}\0${slot}`);
}

/** Another process may make it at the same time: then its key is the one. */
function createOnce(path: string, key: Uint8Array): void {
  try {
    createFile(path, key, 0o600);
  } catch (error) {
    if (!(error instanceof SysError && error.code === "EEXIST")) throw error;
  }
}

function checkedKey(path: string, key: Uint8Array): Uint8Array {
  const mode = findStatus(path)?.mode ?? 0;
  if ((mode & 0o077) !== 0)
    throw new SealError(
      `The seal key ${path} can be read by other users (mode ${mode.toString(8)}). Run \`chmod 600 ${path}\`.`,
    );
  if (key.length !== sealKeyBytes)
    throw new SealError(
      `The seal key ${path} has ${key.length} bytes instead of ${sealKeyBytes}. Restore it.`,
    );
  return key;
}

function asSealError(path: string, error: unknown): unknown {
  if (!(error instanceof SysError)) return error;
  return new SealError(`Cannot use the seal key ${path}: ${error.message}.`, { cause: error });
}

function secureRandom(bytes: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(bytes));
}
