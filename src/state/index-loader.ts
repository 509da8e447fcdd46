// Fills a key index from the rows of the store at open, and proves on the way that none is missing:
// a hole in the store's files makes rows vanish without a trace of their own (L4).
//
//   history rows, in order   from the floor on every revision is there, with every sub revision
//                            to the one marked last; above it each change of a key follows from
//                            the one before it (below, removal may have come any way)
//   latest rows, in order    exactly the live keys, each as its newest history row says
//   in the end               count and digest are those of the applied record
import type { Applied } from "../store/state-store.ts";
import type { KeyIndex, KeyMeta, RevisionRef } from "./key-index.ts";
import type { KeyValue } from "../proto/mvccpb/kv.ts";
import type { LeaseId } from "../base/ids.ts";
import { compareBytes } from "../base/bytes.ts";
import { decodeKeyValue, historyFlags, parseHistoryRowKey } from "./mvcc-row.ts";

export class IndexLoader {
  readonly #index: KeyIndex;
  readonly #applied: Applied;
  // The next change that must come, from the floor on.
  #next: { main: number; sub: number };
  #latestCount = 0;

  constructor(index: KeyIndex, applied: Applied) {
    this.#index = index;
    this.#applied = applied;
    this.#next = { main: Math.max(applied.compactRevision, 2), sub: 0 };
  }

  /** Gives what is wrong; null: nothing. */
  history(rowKey: Uint8Array, row: Uint8Array): string | null {
    const at = parseHistoryRowKey(rowKey);
    const flags = row[0] as number;
    const pair = decodeKeyValue(row, 1);
    const isDelete = (flags & historyFlags.delete) !== 0;
    const name = `revision ${at.main}.${at.sub}`;
    if (pair.modRevision !== at.main) return `${name} holds another revision`;
    if (at.main >= this.#applied.compactRevision) {
      if (at.main !== this.#next.main || at.sub !== this.#next.sub) {
        return `${name} stands where ${this.#next.main}.${this.#next.sub} is due`;
      }
      const isLast = (flags & historyFlags.last) !== 0;
      this.#next = isLast ? { main: at.main + 1, sub: 0 } : { main: at.main, sub: at.sub + 1 };
    }
    if (at.main > this.#applied.compactRevision) {
      const before = this.#index.find(pair.key);
      if (!(isDelete ? before !== undefined : followsPut(pair, before, at))) {
        return `${name} does not follow from its key's change before`;
      }
    }
    this.#index.restoreChange(pair.key, at, isDelete ? null : metaOf(pair));
    return null;
  }

  latest(rowKey: Uint8Array, row: Uint8Array): string | null {
    const pair = decodeKeyValue(row);
    if (compareBytes(pair.key, rowKey.subarray(1)) !== 0) return "a latest row of another key";
    const meta = this.#index.find(pair.key);
    if (meta === undefined || !isSame(meta, metaOf(pair))) {
      return `the latest row of revision ${pair.modRevision} is not its key's newest change`;
    }
    this.#index.restoreValue(pair.key, pair.value);
    this.#latestCount++;
    return null;
  }

  finish(): string | null {
    const { revision, keyCount, digest } = this.#applied;
    if (this.#next.main !== revision + 1 || this.#next.sub !== 0) {
      return `history ends before ${this.#next.main}.${this.#next.sub}, not after ${revision}`;
    }
    const found = this.#index.keyCount();
    if (found !== keyCount || this.#latestCount !== keyCount) {
      return `${this.#latestCount} latest rows and ${found} live keys, expected ${keyCount}`;
    }
    return this.#index.digest() === digest ? null : "the digest is not that of the applied record";
  }
}

function followsPut(pair: KeyValue, before: KeyMeta | undefined, at: RevisionRef): boolean {
  if (before === undefined) return pair.version === 1 && pair.createRevision === at.main;
  return pair.version === before.version + 1 && pair.createRevision === before.createRevision;
}

function metaOf({ createRevision, modRevision, version, lease }: KeyValue): KeyMeta {
  return { createRevision, modRevision, version, lease: lease as LeaseId };
}

function isSame(left: KeyMeta, right: KeyMeta): boolean {
  return (
    left.createRevision === right.createRevision &&
    left.modRevision === right.modRevision &&
    left.version === right.version &&
    left.lease === right.lease
  );
}
