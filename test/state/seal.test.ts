// Sealed keys open only with their key, node and slot, and their file says nothing.
import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync } from "node:fs";
import { dirname } from "node:path";
import { formatKey, keyBytes } from "../../src/net/key.ts";
import { generateKeyPair, publicKeyOf } from "../../src/state/keys.ts";
import {
  openPrivateKey,
  readOrCreateSealKey,
  readSealKey,
  SealError,
  sealPrivateKey,
} from "../../src/state/seal.ts";
import { Store } from "../../src/state/store.ts";
import { newStateDir, removeStateDirs } from "./support.ts";

afterAll(removeStateDirs);

const context = { node: "n1", slot: "a" } as const;

test("what is sealed opens, each time under another nonce", () => {
  const key = readOrCreateSealKey(`${newStateDir()}/seal.key`);
  const { privateKey } = generateKeyPair();
  const sealed = sealPrivateKey(key, context, privateKey);
  expect(openPrivateKey(key, context, sealed)).toBe(privateKey);
  expect(sealed.length).toBe(24 + 44 + 16);
  expect(sealPrivateKey(key, context, privateKey)).not.toEqual(sealed);
});

test("it opens with nothing else", () => {
  const key = new Uint8Array(32).fill(7);
  const { privateKey } = generateKeyPair();
  const sealed = sealPrivateKey(key, context, privateKey);
  const attempts: [Uint8Array, { node: string; slot: "a" | "b" }, Uint8Array][] = [
    [new Uint8Array(32).fill(8), context, sealed],
    [key, { ...context, slot: "b" }, sealed],
    [key, { ...context, node: "n2" }, sealed],
    [key, context, sealed.slice(0, -1)],
    [key, context, new Uint8Array(0)],
    ...Array.from({ length: sealed.length }, (_, i): [Uint8Array, typeof context, Uint8Array] => [
      key,
      context,
      sealed.map((byte, j) => (i === j ? byte ^ 1 : byte)),
    ]),
  ];
  for (const [withKey, of, bytes] of attempts) {
    expect(() => openPrivateKey(withKey, of, bytes)).toThrow(SealError);
    expect(() => openPrivateKey(withKey, of, bytes)).toThrow(`node ${of.node}, slot ${of.slot}`);
  }
});

test("the seal key is made once, private, and read again", () => {
  const path = `${newStateDir()}/deep/seal.key`;
  const key = readOrCreateSealKey(path);
  expect(key.length).toBe(32);
  expect(readOrCreateSealKey(path)).toEqual(key);
  expect(readSealKey(path)).toEqual(key);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("a process that looks while it is made sees all of it or nothing", async () => {
  const path = `${newStateDir()}/seal.key`;
  const program = `const { readOrCreateSealKey } = await import(${JSON.stringify(`${import.meta.dir}/../../src/state/seal.ts`)});
    console.log(Buffer.from(readOrCreateSealKey(${JSON.stringify(path)})).toString("hex"));`;
  const traced = ["strace", "-f", "-o", `${dirname(dirname(path))}/trace`, "-e", "trace=write,fsync,linkat"];
  const child = Bun.spawn([...traced, process.execPath, "-e", program], { stdout: "pipe", stderr: "pipe" });
  expect([await child.exited, (await child.stdout.text()).length]).toEqual([0, 65]);
  const trace = readFileSync(`${dirname(dirname(path))}/trace`, "utf8").split("\n");
  const [written, flushed, named] = [/ write\(\d+, .*, 32\) /, / fsync\(/, / linkat\(.*seal\.key"/].map(
    (call) => trace.findIndex((line) => call.test(line)),
  ) as [number, number, number];
  expect([written > 0, flushed > written, named > flushed]).toEqual([true, true, true]);
  expect(readdirSync(dirname(path))).toEqual(["seal.key"]);
}, 30_000);

test("a seal key that is missing, open to other users or damaged is refused and not replaced", () => {
  const dir = newStateDir();
  mkdirSync(dir);
  const path = `${dir}/seal.key`;
  expect(() => readSealKey(path)).toThrow(`the seal key ${path} is missing`);
  readOrCreateSealKey(path);
  chmodSync(path, 0o640);
  expect(() => readOrCreateSealKey(path)).toThrow("can be read by other users (mode 640)");
  chmodSync(path, 0o600);
  truncateSync(path, 31);
  expect(() => readOrCreateSealKey(path)).toThrow("has 31 bytes instead of 32");
  expect(statSync(path).size).toBe(31);
});

test("no file of the state holds a private key, as text or as bytes", () => {
  const dir = newStateDir();
  using store = Store.open(dir, "b1");
  const key = readOrCreateSealKey(`${dir}/../seal.key`);
  const { privateKey, publicKey } = generateKeyPair();
  store.putIdentity({
    name: "n1",
    endpoints: [],
    nodeIPs: [],
    podCIDRs: [],
    slots: [
      {
        slot: "a",
        createdAtMs: 1,
        publicKey,
        sealedPrivateKey: sealPrivateKey(key, context, privateKey),
        state: "active",
      },
    ],
    up: true,
    endpointsFound: false,
    nodeIPsFollow: false,
  });
  const files = readdirSync(dir).map((name) => readFileSync(`${dir}/${name}`));
  const holds = (needle: string | Uint8Array) => files.some((bytes) => bytes.includes(needle as never));
  expect(holds(publicKey)).toBe(true);
  const raw = keyBytes(privateKey);
  const forms = [privateKey, privateKey.slice(0, 20), raw, raw.slice(0, 12), raw.toHex(), btoa(privateKey)];
  expect(forms.map(holds)).toEqual(forms.map(() => false));
  const sealed = store.identity()?.slots[0]?.sealedPrivateKey ?? new Uint8Array();
  expect(openPrivateKey(key, context, sealed)).toBe(privateKey);
});

// Bob's pair; `wg pubkey` agrees.
test("the public key is that of RFC 7748, 6.1", () => {
  const secret = Uint8Array.fromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  const shared = Uint8Array.fromHex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  expect(publicKeyOf(formatKey(secret))).toBe(formatKey(shared));
});

test("a private key is clamped as the kernel clamps it, so it reads back as written", () => {
  for (const fill of [0, 1, 127, 128, 255]) {
    const { privateKey, publicKey } = generateKeyPair(new Uint8Array(32).fill(fill));
    const bytes = keyBytes(privateKey);
    expect([bytes[0]! & 7, bytes[31]! & 192]).toEqual([0, 64]);
    expect(publicKeyOf(formatKey(new Uint8Array(32).fill(fill)))).toBe(publicKey);
  }
  expect(generateKeyPair().privateKey).not.toBe(generateKeyPair().privateKey);
});
