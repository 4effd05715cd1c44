// A growing buffer of bytes in host order, which is little-endian on every
// machine we run on; functions for network order are named so. Lengths of nested
// parts are filled in when they end.

const alignment = 4;
const attributeHeaderBytes = 4;
const maxAttributeBytes = 0xffff;

export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(expectedBytes = 512) {
    this.#bytes = new Uint8Array(expectedBytes);
  }

  get length(): number {
    return this.#length;
  }

  /** The bytes that were written. It is a view, valid until more is written. */
  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Forgets everything, keeps the memory. */
  clear(): void {
    this.#length = 0;
  }

  /** Writes an unsigned number of 1, 2 or 4 bytes in host order. Throws RangeError if it does not fit. */
  unsigned(value: number, bytes: 1 | 2 | 4): void {
    const kept = bytes === 4 ? value >>> 0 : value & (bytes === 2 ? 0xffff : 0xff);
    if (kept !== value) throw new RangeError(`${value} is not an unsigned number of ${bytes} bytes`);
    const at = this.#grow(bytes);
    for (let i = 0; i < bytes; i++) this.#bytes[at + i] = value >>> (8 * i);
  }

  /** Writes a 2-byte unsigned number in network order. Throws RangeError if it does not fit. */
  unsigned16BigEndian(value: number): void {
    this.unsigned(value >>> 8, 1);
    this.unsigned(value & 0xff, 1);
  }

  raw(bytes: Uint8Array): void {
    // First of all the room: growing puts other memory in place of #bytes.
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  zeros(count: number): void {
    const at = this.#grow(count);
    this.#bytes.fill(0, at, at + count);
  }

  /** Overwrites 4 bytes written before. */
  patch32(at: number, value: number): void {
    for (let i = 0; i < 4; i++) this.#bytes[at + i] = value >>> (8 * i);
  }

  /** Begins a struct nlattr; returns what `endAttribute` needs. `type` includes NLA_F_* bits. */
  beginAttribute(type: number): number {
    const start = this.#length;
    this.unsigned(0, 2);
    this.unsigned(type, 2);
    return start;
  }

  /** Fills in the attribute's length and pads to the next. Throws RangeError over 65,535 bytes. */
  endAttribute(start: number): void {
    const length = this.#length - start;
    if (length > maxAttributeBytes)
      throw new RangeError(`an attribute has at most ${maxAttributeBytes - attributeHeaderBytes} bytes`);
    this.#bytes[start] = length;
    this.#bytes[start + 1] = length >>> 8;
    this.align();
  }

  align(): void {
    this.zeros(-this.#length & (alignment - 1));
  }

  #grow(count: number): number {
    const at = this.#length;
    const needed = at + count;
    if (needed > this.#bytes.length) {
      const doubled = this.#bytes.length * 2;
      const larger = new Uint8Array(needed > doubled ? needed : doubled);
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
    }
    this.#length = needed;
    return at;
  }
}
