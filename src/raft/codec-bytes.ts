// The primitives under codec.ts: a writer into a buffer of sufficient size, and a reader that
// believes nothing. It knows no message; codec.ts knows no byte order.
//
// Counters are little-endian base-128 varints of at most 8 bytes (2^53 - 1 fits), in their shortest
// form only; member ids are 8 bytes, big-endian. So every value has one encoding, and what decodes
// encodes to the same bytes again. Bytes that break a rule throw DecodeError and nothing else.
import { assert } from "../base/assert.ts";
import type { MemberId } from "../base/ids.ts";

/** Bytes that are not what they claim to be. The sender is at fault, never this process. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

/** Most bytes of a varint. */
export const varintBytesMax = 8;
export const memberIdBytes = 8;

const twoTo32 = 0x100000000;

interface IdPair {
  readonly id: MemberId;
  readonly high: number;
  readonly low: number;
}

/** Ids met before, in both forms: a cluster has few members, and every message names two of them. */
const seen: IdPair[] = [];
const seenMax = 16;
let seenNext = 0;

function remembered(pair: IdPair): IdPair {
  seen[seenNext++ % seenMax] = pair;
  return pair;
}

function pairOf(id: MemberId): IdPair {
  const value = BigInt(id);
  assert(value >= 0n && BigInt.asUintN(64, value) === value, `not a member id: ${id}`);
  return { id, high: Number(value >> 32n), low: Number(value & 0xffffffffn) };
}

function idOf(high: number, low: number): MemberId {
  if (high < 0x200000) return String(high * twoTo32 + low) as MemberId;
  return String((BigInt(high) << 32n) | BigInt(low)) as MemberId;
}

export class ByteWriter {
  readonly #target: Uint8Array;
  #at: number;

  /** Writes into `target` from `at` on. The caller made it large enough. */
  constructor(target: Uint8Array, at: number) {
    this.#target = target;
    this.#at = at;
  }

  /** Where the next byte goes. */
  at(): number {
    return this.#at;
  }

  byte(value: number): void {
    assert(this.#at < this.#target.length, "the encode buffer is too small");
    this.#target[this.#at++] = value;
  }

  flag(value: boolean): void {
    this.byte(value ? 1 : 0);
  }

  varint(value: number): void {
    assert(
      Number.isSafeInteger(value) && value >= 0,
      "not a counter that JavaScript holds exactly",
    );
    let rest = value;
    while (rest >= 128) {
      this.byte((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    this.byte(rest);
  }

  memberId(id: MemberId): void {
    const { high, low } = seen.find((pair) => pair.id === id) ?? remembered(pairOf(id));
    this.#uint32(high);
    this.#uint32(low);
  }

  /** The bytes themselves, no length before them. */
  raw(bytes: Uint8Array): void {
    assert(this.#at + bytes.length <= this.#target.length, "the encode buffer is too small");
    this.#target.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #uint32(value: number): void {
    this.byte(value >>> 24);
    this.byte((value >>> 16) & 0xff);
    this.byte((value >>> 8) & 0xff);
    this.byte(value & 0xff);
  }
}

export class ByteReader {
  readonly #source: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(source: Uint8Array, at = 0, end = source.length) {
    this.#source = source;
    this.#at = at;
    this.#end = end;
  }

  /** Where the next byte comes from. */
  at(): number {
    return this.#at;
  }

  /** For the end of a form that fills its bytes. */
  expectEnd(): void {
    if (this.#at !== this.#end) throw new DecodeError(`${this.#end - this.#at} bytes too many`);
  }

  byte(): number {
    if (this.#at >= this.#end) throw new DecodeError("ends too early");
    return this.#source[this.#at++] as number;
  }

  flag(): boolean {
    const value = this.byte();
    if (value > 1) throw new DecodeError(`flag is ${value}`);
    return value === 1;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 1; count <= varintBytesMax; count++) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 128) {
        if (byte === 0 && count > 1) throw new DecodeError("varint is longer than needed");
        if (!Number.isSafeInteger(value)) throw new DecodeError("varint exceeds 2^53 - 1");
        return value;
      }
      scale *= 128;
    }
    throw new DecodeError("varint is too long");
  }

  memberId(): MemberId {
    const high = this.#uint32();
    const low = this.#uint32();
    for (const pair of seen) if (pair.low === low && pair.high === high) return pair.id;
    return remembered({ id: idOf(high, low), high, low }).id;
  }

  /** A view, not a copy: it lives as long as the source does. */
  raw(length: number): Uint8Array {
    if (length > this.#end - this.#at) throw new DecodeError("ends too early");
    this.#at += length;
    return this.#source.subarray(this.#at - length, this.#at);
  }

  #uint32(): number {
    const high = (this.byte() << 8) | this.byte();
    const low = (this.byte() << 8) | this.byte();
    return high * 0x10000 + low;
  }
}
