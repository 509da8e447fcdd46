// Rows of one batch, enveloped, in one piece of memory: an allocation and a CRC call per row would
// cost more than writing it.
import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import type { BackendOperation } from "./backend.ts";
import { envelopeBytes } from "./layout.ts";
import type { OverlayValue } from "./overlay.ts";

/** The bytes that a row takes. */
export function packedBytes(key: string, value: OverlayValue): number {
  return key.length + (value === null ? 0 : envelopeBytes + value.length);
}

export class RowPacker {
  readonly operations: BackendOperation[] = [];
  readonly #slab: Buffer;
  #used = 0;

  /** With room for the packedBytes of all rows. */
  constructor(slab: Buffer) {
    this.#slab = slab;
  }

  add(key: string, value: OverlayValue): void {
    const slab = this.#slab;
    const keyStart = this.#used;
    const keyEnd = keyStart + key.length;
    assert(
      keyEnd + (packedBytes(key, value) - key.length) <= slab.length,
      "a batch outgrew its slab",
    );
    slab.write(key, keyStart, "latin1");
    const packedKey = slab.subarray(keyStart, keyEnd);
    if (value === null) {
      this.#used = keyEnd;
      this.operations.push({ type: "del", key: packedKey });
      return;
    }
    const payloadStart = keyEnd + envelopeBytes;
    slab.set(value, payloadStart);
    this.#used = payloadStart + value.length;
    const crc = crc32(slab.subarray(payloadStart, this.#used), crc32(packedKey));
    slab.writeUInt32BE(crc, keyEnd);
    this.operations.push({
      type: "put",
      key: packedKey,
      value: slab.subarray(keyEnd, this.#used),
    });
  }

  /** All keys and enveloped values, in the order added. */
  packed(): Uint8Array {
    return this.#slab.subarray(0, this.#used);
  }
}
