// Bun reads options of its engine from environment variables that begin with BUN_JSC_, before any code of
// ours runs: an unknown one ends the process, and some of the known ones stop it from working. The compiler
// has made one comparison and one branch for each character of the name, so the name is no text that could
// be overwritten. Instead the first branch, which leaves for the next variable if the first character
// differs, is made to leave always.

export type Arch = "x64" | "arm64";

const prefix = "BUN_JSC_";

/** Makes the engine's options unreachable. Throws if the code that reads them is not found exactly once. */
export function refuseEngineOptions(bytes: Buffer, arch: Arch): void {
  const found = arch === "x64" ? findX64(bytes) : findArm64(bytes);
  const [at] = found;
  if (at === undefined || found.length > 1)
    throw new Error(`the executable reads ${prefix}* at ${found.length} places: has Bun changed?`);
  if (arch === "x64") branchAlwaysX64(bytes, at);
  else branchAlwaysArm64(bytes, at);
}

/** The places of the first branches. A comparison is `cmpb $character, offset(register)`, a branch `jne`. */
function findX64(bytes: Buffer): number[] {
  const hex = (value: number) => `\\x${value.toString(16).padStart(2, "0")}`;
  const compare = (character: string, i: number) =>
    `\\x41?\\x80${i === 0 ? "[\\x38-\\x3f]" : `[\\x78-\\x7f]${hex(i)}`}${hex(character.charCodeAt(0))}`;
  const branch = "(?:\\x75.|\\x0f\\x85....)";
  const [first = "", ...rest] = [...prefix].map(compare);
  const pattern = new RegExp(`(${first})${branch}${rest.map((one) => one + branch).join("")}`, "gs");
  return [...bytes.toString("latin1").matchAll(pattern)].map(
    ({ index, 1: compared = "" }) => index + compared.length,
  );
}

/** From "jne" to "jmp", with an 8 or 32 bit distance (Intel SDM, volume 2). */
function branchAlwaysX64(bytes: Buffer, at: number): void {
  if (bytes[at] === 0x75) bytes[at] = 0xeb;
  // The 32-bit "jmp" is a byte shorter; a "nop" before it keeps its distance.
  else bytes.set([0x90, 0xe9], at);
}

const instructionBytes = 4;

/** A comparison is `ldrb w, [x, #offset]` and `cmp w, #character`, a branch `b.ne` (Arm ARM, C6.2). */
function findArm64(bytes: Buffer): number[] {
  const loads = (word: number, offset: number) =>
    (word & 0xfffffc00) >>> 0 === (0x39400000 | (offset << 10)) >>> 0;
  const compares = (word: number, character: number) =>
    (word & 0xfffffc1f) >>> 0 === (0x7100001f | (character << 10)) >>> 0;
  const branches = (word: number) => (word & 0xff00001f) >>> 0 === 0x54000001;
  const wordAt = (at: number) => bytes.readUInt32LE(at);
  const isAt = (at: number) =>
    [...prefix].every((character, i) => {
      const load = at + 3 * i * instructionBytes;
      return (
        loads(wordAt(load), i) &&
        compares(wordAt(load + instructionBytes), character.charCodeAt(0)) &&
        branches(wordAt(load + 2 * instructionBytes))
      );
    });
  const found: number[] = [];
  const last = bytes.length - 3 * prefix.length * instructionBytes;
  const firstCompare = prefix.charCodeAt(0);
  for (let at = 0; at <= last; at += instructionBytes)
    if (compares(wordAt(at + instructionBytes), firstCompare) && isAt(at))
      found.push(at + 2 * instructionBytes);
  return found;
}

/** From "b.ne" to "b": a distance of 19 bits becomes one of 26. */
function branchAlwaysArm64(bytes: Buffer, at: number): void {
  // The shifts keep the sign.
  const distance = (bytes.readInt32LE(at) << 8) >> 13;
  bytes.writeUInt32LE((0x14000000 | (distance & 0x03ffffff)) >>> 0, at);
}
