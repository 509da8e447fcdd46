// Where each entry stands on disk: eight bytes an entry, in blocks, so that growing never copies
// what is there. Holds places only; reader.ts turns them into entries. Rebuilt by recovery.
import { assert } from "../base/assert.ts";
import type { Index } from "../base/ids.ts";

export interface EntryPlace {
  readonly segment: number;
  /** Offset of the record in the segment, counted in bytes of records: page * pageRoom + offset. */
  readonly offset: number;
}

const blockEntries = 16_384;

export class EntryMap {
  /** Index of the first entry of #blocks[0]; all of a block is kept until none of it is wanted. */
  readonly #origin: Index;
  readonly #blocks: Uint32Array[] = [];
  #last: Index;

  /** Empty; the next entry is `first`. */
  constructor(first: Index) {
    this.#origin = first;
    this.#last = first - 1;
  }

  last(): Index {
    return this.#last;
  }

  /** The place of the entry after the last. */
  push(place: EntryPlace): void {
    assert(place.segment < 2 ** 32 && place.offset < 2 ** 32, "an entry's place is out of bounds");
    this.#last++;
    const at = this.#last - this.#origin;
    const blockAt = Math.floor(at / blockEntries);
    let block = this.#blocks[blockAt];
    if (block === undefined) {
      block = new Uint32Array(blockEntries * 2);
      this.#blocks.push(block);
    }
    block[(at % blockEntries) * 2] = place.segment;
    block[(at % blockEntries) * 2 + 1] = place.offset;
  }

  get(index: Index): EntryPlace {
    assert(index >= this.#origin && index <= this.#last, "no such entry in the log");
    const at = index - this.#origin;
    const block = this.#blocks[Math.floor(at / blockEntries)] as Uint32Array;
    return {
      segment: block[(at % blockEntries) * 2] as number,
      offset: block[(at % blockEntries) * 2 + 1] as number,
    };
  }

  /** Forgets `from` and all after it. */
  truncate(from: Index): void {
    assert(from >= this.#origin && from <= this.#last, "truncation outside the log");
    this.#last = from - 1;
    this.#blocks.length = Math.ceil((from - this.#origin) / blockEntries);
  }
}
