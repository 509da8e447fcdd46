// The state hash (L10): a sum of keyed hashes, one per live key over its metadata and value, in two
// lanes of 32 bits. A sum does not depend on order, so it is kept by adding and subtracting, and
// members that hold the same state hold the same digest however they came to it.
//
// Against faults and bugs, not against an adversary: hashes are fast and unkeyed by secrets.
import type { KeyMeta } from "./key-index.ts";

const seedLow = 0x243f6a88 | 0;
const seedHigh = 0x85a308d3 | 0;

/** Hashes one key at a time; the result stands in the two lanes until the next call. */
export class KeyHash {
  low = 0;
  high = 0;

  of(key: Uint8Array, meta: KeyMeta, value: Uint8Array): void {
    this.low = seedLow;
    this.high = seedHigh;
    this.#bytes(key);
    this.#number(meta.createRevision);
    this.#number(meta.modRevision);
    this.#number(meta.version);
    this.#text(meta.lease);
    this.#bytes(value);
    this.low = finalMix(this.low);
    this.high = finalMix(this.high ^ this.low);
  }

  #word(word: number): void {
    this.low = Math.imul(this.low ^ word, 0x9e3779b1);
    this.low ^= this.low >>> 15;
    this.high = Math.imul(((this.high << 13) | (this.high >>> 19)) + word, 0x85ebca6b) | 0;
  }

  #number(value: number): void {
    this.#word(value | 0);
    this.#word(Math.floor(value / 0x100000000) | 0);
  }

  #text(text: string): void {
    this.#word(text.length);
    for (let i = 0; i < text.length; i++) this.#word(text.charCodeAt(i));
  }

  // Starts with the length, so that key and value cannot trade bytes.
  #bytes(bytes: Uint8Array): void {
    const length = bytes.length;
    this.#word(length);
    const whole = length & ~3;
    let low = this.low;
    let high = this.high;
    for (let i = 0; i < length; i += 4) {
      const word =
        i < whole
          ? (bytes[i] as number) |
            ((bytes[i + 1] as number) << 8) |
            ((bytes[i + 2] as number) << 16) |
            ((bytes[i + 3] as number) << 24)
          : lastWord(bytes, i);
      low = Math.imul(low ^ word, 0x9e3779b1);
      low ^= low >>> 15;
      high = Math.imul(((high << 13) | (high >>> 19)) + word, 0x85ebca6b) | 0;
    }
    this.low = low;
    this.high = high;
  }
}

function lastWord(bytes: Uint8Array, from: number): number {
  let word = 0;
  for (let i = bytes.length - 1; i >= from; i--) word = (word << 8) | (bytes[i] as number);
  return word;
}

function finalMix(lane: number): number {
  let mixed = Math.imul(lane ^ (lane >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

/** The sum. */
export class Digest {
  #low = 0;
  #high = 0;

  add(low: number, high: number): void {
    this.#low = (this.#low + low) | 0;
    this.#high = (this.#high + high) | 0;
  }

  subtract(low: number, high: number): void {
    this.#low = (this.#low - low) | 0;
    this.#high = (this.#high - high) | 0;
  }

  toString(): string {
    return hex(this.#high) + hex(this.#low);
  }
}

/** Of the empty store. */
export const emptyDigest = "0000000000000000";

// Number.toString and padStart take ten times as long, for every entry.
const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex(lane: number): string {
  return (
    (hexOfByte[lane >>> 24] as string) +
    (hexOfByte[(lane >>> 16) & 0xff] as string) +
    (hexOfByte[(lane >>> 8) & 0xff] as string) +
    (hexOfByte[lane & 0xff] as string)
  );
}
