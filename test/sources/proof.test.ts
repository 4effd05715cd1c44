// Proofs of possession. Vectors and references: Signal's own XEdDSA vector (curve25519-java, the fast
// tests of xeddsa), Ed25519 of another implementation (@noble/curves), RFC 7748's keys.
import { expect, test } from "bun:test";
import { ed25519, x25519 } from "@noble/curves/ed25519.js";
import { ParseError } from "../../src/net/error.ts";
import { formatKey, keyBytes, parseProof, parsePublicKey, zeroKey } from "../../src/net/key.ts";
import { isProven, verify } from "../../src/sources/proof-check.ts";
import { generateKeyPair } from "../../src/state/keys.ts";
import { makeProof } from "../../src/state/proof.ts";
import { sign } from "../../src/state/xeddsa.ts";

const hex = Uint8Array.fromHex;
const seeded = (seed: number) =>
  generateKeyPair(new Uint8Array(32).map((_, i) => (i * 7 + seed * 31) & 0xff));

test("signing gives the signature of Signal's vector", () => {
  const privateKey = new Uint8Array(32);
  privateKey[8] = 189;
  privateKey[31] = 64;
  const signature = sign(privateKey, new Uint8Array(200));
  expect(signature.toHex()).toBe(
    "11c7f3e6c4df9e8a5150e1db3b30f92de3a3b3aa438656545fa7390f4bcc7bb2" +
      "6c431d9e90643e4f0eaa0e9c557766fa69ada576d63dcaf2ac326c11d0b97702",
  );
  const publicKey = x25519.scalarMultBase(privateKey);
  expect(verify(publicKey, new Uint8Array(200), signature)).toBe(true);
  for (let at = 0; at < 64; at += 7)
    expect(verify(publicKey, new Uint8Array(200), signature.with(at, (signature[at] as number) ^ 1))).toBe(
      false,
    );
});

test("another implementation of Ed25519 verifies a signature by the converted key, whatever the key's sign", () => {
  const signs = new Set<number>();
  for (let seed = 0; seed < 16; seed++) {
    const { privateKey, publicKey } = seeded(seed);
    const scalar = ed25519.Point.Fn.create(ed25519.Point.Fp.fromBytes(keyBytes(privateKey)));
    signs.add((ed25519.Point.BASE.multiply(scalar).toBytes()[31] as number) >> 7);
    const message = new TextEncoder().encode(`message ${seed}`);
    const signature = sign(keyBytes(privateKey), message);
    const u = ed25519.Point.Fp.fromBytes(keyBytes(publicKey));
    const { Fp } = ed25519.Point;
    const converted = Fp.toBytes(Fp.div(Fp.sub(u, Fp.ONE), Fp.add(u, Fp.ONE)));
    expect(ed25519.verify(signature, message, converted)).toBe(true);
    expect(verify(keyBytes(publicKey), message, signature)).toBe(true);
    expect(verify(keyBytes(publicKey), new TextEncoder().encode("another"), signature)).toBe(false);
  }
  expect(signs).toEqual(new Set([0, 1]));
});

test("a proof is the same whenever it is made, and valid for its node, slot and key alone", () => {
  const [own, other] = [seeded(1), seeded(2)];
  const proof = makeProof({ node: "n1", slot: "a" }, own.privateKey, own.publicKey);
  expect(makeProof({ node: "n1", slot: "a" }, own.privateKey, own.publicKey)).toBe(proof);
  expect(parseProof(proof)).toBe(proof);
  const record = { slot: "a", publicKey: own.publicKey, port: 51820, state: "active", proof } as const;
  expect(isProven("n1", record)).toBe(true);
  // Neither is what a slot's key is bound to.
  expect(isProven("n1", { ...record, port: 4500, state: "draining" })).toBe(true);
  expect(isProven("n2", record)).toBe(false);
  expect(isProven("n1", { ...record, slot: "b" })).toBe(false);
  expect(isProven("n1", { ...record, publicKey: other.publicKey })).toBe(false);
  const { proof: _, ...bare } = record;
  expect(isProven("n1", bare)).toBe(false);
  const damaged = keyBytes(proof);
  damaged[40] = (damaged[40] as number) ^ 4;
  expect(isProven("n1", { ...record, proof: damaged.toBase64() })).toBe(false);
});

test("who has no key of the pair cannot prove it: with its own key, nor with a signature of zeros", () => {
  const [own, thief] = [seeded(3), seeded(4)];
  const forged = makeProof({ node: "n2", slot: "a" }, thief.privateKey, own.publicKey);
  const record = { slot: "a", publicKey: own.publicKey, port: 51820, state: "active" } as const;
  expect(isProven("n2", { ...record, proof: forged })).toBe(false);
  expect(isProven("n2", { ...record, proof: new Uint8Array(64).toBase64() })).toBe(false);
});

const little = (value: bigint) => formatKey(hex(value.toString(16).padStart(64, "0")).reverse());
const p = 2n ** 255n - 19n;
const small = [
  1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
  p - 1n,
];

test("public keys of small order are refused; all of them agree on zero", () => {
  for (const value of small) {
    expect(() => parsePublicKey(little(value))).toThrow("of small order");
    expect(() => x25519.scalarMult(keyBytes(seeded(1).privateKey), keyBytes(little(value)))).toThrow();
  }
});

test("public keys in another encoding are refused", () => {
  for (let beyond = p; beyond < 2n ** 255n; beyond++)
    expect(() => parsePublicKey(little(beyond))).toThrow("beyond the field's order");
  const { publicKey } = seeded(5);
  const high = keyBytes(publicKey).slice();
  high[31] = (high[31] as number) | 0x80;
  expect(() => parsePublicKey(formatKey(high))).toThrow("beyond the field's order");
  expect(() => parsePublicKey("AQEB")).toThrow(ParseError);
});

test("public keys of nodes and the zero key are taken", () => {
  expect(parsePublicKey(zeroKey)).toBe(zeroKey);
  expect(parsePublicKey(little(p - 2n))).toBe(little(p - 2n));
  for (let seed = 0; seed < 16; seed++)
    expect(parsePublicKey(seeded(seed).publicKey)).toBe(seeded(seed).publicKey);
});

test("what is no proof is not parsed", () => {
  for (const text of [
    "",
    "AAAA",
    new Uint8Array(63).toBase64(),
    new Uint8Array(65).toBase64(),
    `${"A".repeat(85)}B==`,
  ])
    expect(() => parseProof(text)).toThrow(ParseError);
});
