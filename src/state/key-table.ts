// Finds a key's record by its hash: one line of memory to look at, where the tree (key-tree.ts)
// would be walked with a dozen misses. The tree stays the truth, for order, intervals and counts.
//
// Buckets of 16 hashes, as long as a cache line; a full bucket sends its key to the tree alone, so
// that keys chosen to collide cost what they would cost without this table, and no more.
import { equalBytes } from "../base/bytes.ts";
import type { KeyRecord } from "./key-record.ts";

const bucketSize = 16;
const bucketCountMin = 64;
/** Places a key, at which buckets rarely run full. */
const placesPerKeyMin = 1.75;

export class KeyTable {
  /** By place; 0: free. */
  #hashes = new Int32Array(bucketSize * bucketCountMin);
  #records: (KeyRecord | null)[] = freePlaces(bucketSize * bucketCountMin);
  #count = 0;
  /** Keys that are not here, for want of a place. */
  #overflowCount = 0;

  /** Null: look in the tree. */
  find(key: Uint8Array): KeyRecord | undefined | null {
    const hash = hashOf(key);
    const first = this.#bucketOf(hash);
    const hashes = this.#hashes;
    for (let place = first; place < first + bucketSize; place++) {
      if (hashes[place] !== hash) continue;
      const record = this.#records[place] as KeyRecord;
      if (equalBytes(record.key, key)) return record;
    }
    return this.#overflowCount === 0 ? undefined : null;
  }

  /** Its key must not be here. */
  add(record: KeyRecord): void {
    if (this.#count * placesPerKeyMin >= this.#records.length) this.#grow();
    this.#count++;
    if (!this.#maybePlace(hashOf(record.key), record)) this.#overflowCount++;
  }

  /** The record must have been added. */
  remove(record: KeyRecord): void {
    this.#count--;
    const first = this.#bucketOf(hashOf(record.key));
    for (let place = first; place < first + bucketSize; place++) {
      if (this.#records[place] !== record) continue;
      this.#hashes[place] = 0;
      this.#records[place] = null;
      return;
    }
    this.#overflowCount--;
  }

  #bucketOf(hash: number): number {
    return (hash * bucketSize) & (this.#hashes.length - 1);
  }

  #maybePlace(hash: number, record: KeyRecord): boolean {
    const first = this.#bucketOf(hash);
    for (let place = first; place < first + bucketSize; place++) {
      if (this.#hashes[place] !== 0) continue;
      this.#hashes[place] = hash;
      this.#records[place] = record;
      return true;
    }
    return false;
  }

  /** Keys that had no place stay with the tree. */
  #grow(): void {
    const hashes = this.#hashes;
    const records = this.#records;
    this.#hashes = new Int32Array(2 * hashes.length);
    this.#records = freePlaces(2 * hashes.length);
    records.forEach((record, place) => {
      if (record === null) return;
      if (!this.#maybePlace(hashes[place] as number, record)) this.#overflowCount++;
    });
  }
}

function freePlaces(count: number): (KeyRecord | null)[] {
  const places: (KeyRecord | null)[] = [];
  places.length = count;
  return places.fill(null);
}

/** FNV-1a with its bits mixed; never 0. */
function hashOf(key: Uint8Array): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ (key[i] as number), 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  hash ^= hash >>> 16;
  return hash === 0 ? 1 : hash;
}
