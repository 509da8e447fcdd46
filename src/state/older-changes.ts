// The changes of one key that a newer one has superseded, oldest first, until compaction forgets
// them: where each stands in history, and whether it deleted the key. A key that is written all
// the time has millions of them, so all but the newest lie in packed blocks: of each change the
// distance from the main revision before, then the code, both as varints, four bytes together as a
// rule where two numbers take sixteen.
//
//   #blocks, of blockChanges changes each; #forgotten of the first are gone │ #recent, as numbers
//
// Invariants: main revisions never decrease; only the first block may have forgotten changes, and
// never all of them.
import { assert } from "../base/assert.ts";
import { putVarint, varintBytes } from "../base/bytes.ts";
import type { Revision } from "../base/ids.ts";
import type { RevisionRef } from "./key-index.ts";

export interface OlderChange extends RevisionRef {
  readonly isTombstone: boolean;
}

/** Of about a kilobyte, most of it content; walked from its beginning to find a change. */
const blockChanges = 256;

interface Block {
  /** Main revision of the first change. */
  readonly first: Revision;
  readonly bytes: Uint8Array;
}

export class OlderChanges {
  #blocks: Block[] | null = null;
  #forgotten = 0;
  // Main revision, then the code: 2 * sub + (1: tombstone).
  #recent: number[] = [];

  count(): number {
    return this.#packedCount() + this.#recent.length / 2;
  }

  push({ main, sub, isTombstone }: OlderChange): void {
    if (this.#recent.length === 2 * blockChanges) {
      this.#blocks ??= [];
      this.#blocks.push(pack(this.#recent));
      this.#recent = [];
    }
    this.#recent.push(main, 2 * sub + (isTombstone ? 1 : 0));
  }

  /** How many have a main revision <= `revision`. */
  countUpTo(revision: Revision): number {
    const recent = this.#recent;
    if (recent.length > 0 && (recent[0] as number) <= revision) {
      return this.#packedCount() + countBelow(recent.length / 2, (i) => recent[2 * i], revision);
    }
    const blocks = this.#blocks ?? [];
    const covered = countBelow(blocks.length, (i) => blocks[i]?.first, revision);
    if (covered === 0) return 0;
    let count = (covered - 1) * blockChanges;
    walk(blocks[covered - 1] as Block, ({ main }) => {
      if (main > revision) return false;
      count++;
      return true;
    });
    // What the first block forgot stands before what it has left, and is counted with it.
    return Math.max(0, count - this.#forgotten);
  }

  /** The change at this place, from 0, the oldest. */
  get(place: number): OlderChange {
    assert(place >= 0 && place < this.count(), "no such older change of a key");
    const at = place - this.#packedCount();
    if (at >= 0)
      return changeOf(this.#recent[2 * at] as number, this.#recent[2 * at + 1] as number);
    const packed = place + this.#forgotten;
    const block = (this.#blocks as Block[])[Math.floor(packed / blockChanges)] as Block;
    let found: OlderChange | null = null;
    let left = packed % blockChanges;
    walk(block, (change) => {
      found = change;
      return left-- > 0;
    });
    assert(found !== null, "a block without changes");
    return found;
  }

  /** Forgets the `count` oldest, and reports each. */
  forget(count: number, forgotten: (at: RevisionRef) => void): void {
    assert(count <= this.count(), "more older changes are forgotten than there are");
    let left = count;
    while (left > 0 && this.#blocks !== null) left -= this.#forgetPacked(left, forgotten);
    for (let i = 0; i < left; i++) {
      forgotten(changeOf(this.#recent[2 * i] as number, this.#recent[2 * i + 1] as number));
    }
    if (left > 0) this.#recent = this.#recent.slice(2 * left);
  }

  /** Of the first block, at most `countMax`; how many. */
  #forgetPacked(countMax: number, forgotten: (at: RevisionRef) => void): number {
    const blocks = this.#blocks as Block[];
    const end = Math.min(this.#forgotten + countMax, blockChanges);
    let at = 0;
    walk(blocks[0] as Block, (change) => {
      if (at >= this.#forgotten) forgotten(change);
      at++;
      return at < end;
    });
    const count = end - this.#forgotten;
    this.#forgotten = end === blockChanges ? 0 : end;
    if (this.#forgotten === 0) blocks.shift();
    if (blocks.length === 0) this.#blocks = null;
    return count;
  }

  #packedCount(): number {
    return (this.#blocks?.length ?? 0) * blockChanges - this.#forgotten;
  }
}

function changeOf(main: Revision, code: number): OlderChange {
  return { main, sub: Math.floor(code / 2), isTombstone: code % 2 === 1 };
}

/** How many of the first `length` rising values are <= `limit`. */
function countBelow(
  length: number,
  valueAt: (i: number) => number | undefined,
  limit: number,
): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((valueAt(middle) as number) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

function pack(recent: readonly number[]): Block {
  const first = recent[0] as number;
  let size = 0;
  eachDistance(recent, (distance, code) => (size += varintBytes(distance) + varintBytes(code)));
  const bytes = new Uint8Array(size);
  let at = 0;
  eachDistance(recent, (distance, code) => {
    at = putVarint(bytes, putVarint(bytes, at, distance), code);
  });
  return { first, bytes };
}

function eachDistance(
  recent: readonly number[],
  visit: (distance: number, code: number) => void,
): void {
  let before = recent[0] as number;
  for (let i = 0; i < recent.length; i += 2) {
    const main = recent[i] as number;
    assert(main >= before, "changes of a key out of order");
    visit(main - before, recent[i + 1] as number);
    before = main;
  }
}

/** Its changes, oldest first, until `visit` answers false. */
function walk({ first, bytes }: Block, visit: (change: OlderChange) => boolean): void {
  let main = first;
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    main += varint();
    if (!visit(changeOf(main, varint()))) return;
  }
}
