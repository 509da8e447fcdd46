// The key index over an ordered tree of records: a record for every key that has a change since
// the compaction floor, live or not. The digest over live keys is kept with every change.
import { assert } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import type { LeaseId, Revision } from "../base/ids.ts";
import { Digest, KeyHash } from "./digest.ts";
import type {
  CompactionSlice,
  KeyIndex,
  KeyMeta,
  LiveVisit,
  PastVisit,
  RevisionRef,
} from "./key-index.ts";
import { KeyRecord } from "./key-record.ts";
import { KeyTree } from "./key-tree.ts";
import type { Interval } from "./mvcc-interval.ts";

// A compaction slice may look at so many keys for each change it may forget.
const keysPerChange = 16;

export class TreeKeyIndex implements KeyIndex {
  readonly #tree = new KeyTree();
  readonly #digest = new Digest();
  readonly #hash = new KeyHash();
  // Found last: a command asks for a key, and then changes it.
  #recent: KeyRecord | null = null;

  keyCount(): number {
    return this.#tree.liveCount();
  }

  digest(): string {
    return this.#digest.toString();
  }

  find(key: Uint8Array): KeyMeta | undefined {
    const record = this.#find(key);
    return record !== undefined && record.isLive() ? record.meta() : undefined;
  }

  at(key: Uint8Array, revision: Revision): RevisionRef | undefined {
    return this.#find(key)?.at(revision);
  }

  put(key: Uint8Array, at: RevisionRef, lease: LeaseId, value: Uint8Array): KeyMeta {
    const record = this.#find(key) ?? this.#tree.insert(new KeyRecord(key.slice()));
    const isNew = !record.isLive();
    const meta = {
      createRevision: isNew ? at.main : record.createRevision,
      modRevision: at.main,
      version: record.version + 1,
      lease,
    };
    if (isNew) this.#tree.countLive(key, 1);
    record.change(at, meta);
    this.#setHash(record, value);
    return meta;
  }

  tombstone(key: Uint8Array, at: RevisionRef): void {
    const record = this.#find(key);
    assert(record !== undefined && record.isLive(), "only a live key is deleted");
    this.#tree.countLive(key, -1);
    this.#clearHash(record);
    record.change(at, null);
  }

  count(interval: Interval): number {
    return this.#tree.count(interval);
  }

  countAt(interval: Interval, revision: Revision): number {
    let count = 0;
    this.#tree.scan(interval, (record) => {
      if (record.at(revision) !== undefined) count++;
      return true;
    });
    return count;
  }

  scan(interval: Interval, visit: LiveVisit): void {
    this.#tree.scan(interval, (record) => !record.isLive() || visit(record.key, record));
  }

  scanAt(interval: Interval, revision: Revision, visit: PastVisit): void {
    this.#tree.scan(interval, (record) => visit(record.key, record.at(revision)));
  }

  compact(slice: CompactionSlice, forgotten: (at: RevisionRef) => void): Uint8Array | null {
    const { revision, from, revisionsMax } = slice;
    const gone: KeyRecord[] = [];
    let changesLeft = revisionsMax;
    let keysLeft = revisionsMax * keysPerChange;
    let next: Uint8Array | null = null;
    this.#tree.scan({ first: from, end: null }, (record) => {
      if (changesLeft <= 0 || keysLeft <= 0) {
        next = record.key;
        return false;
      }
      keysLeft--;
      const result = record.compact(revision, changesLeft, (at) => {
        changesLeft--;
        forgotten(at);
      });
      if (result === null) next = record.key;
      else if (result.isGone) gone.push(record);
      return result !== null;
    });
    this.#recent = null;
    for (const record of gone) this.#tree.remove(record);
    return next;
  }

  restoreChange(key: Uint8Array, at: RevisionRef, meta: KeyMeta | null): void {
    const record = this.#find(key) ?? this.#tree.insert(new KeyRecord(key.slice()));
    if (record.isLive() !== (meta !== null)) this.#tree.countLive(key, meta === null ? -1 : 1);
    record.change(at, meta);
  }

  restoreValue(key: Uint8Array, value: Uint8Array): void {
    const record = this.#find(key);
    assert(record !== undefined && record.isLive(), "only a live key has a value");
    this.#setHash(record, value);
  }

  #find(key: Uint8Array): KeyRecord | undefined {
    const recent = this.#recent;
    if (recent !== null && equalBytes(recent.key, key)) return recent;
    const record = this.#tree.find(key);
    this.#recent = record ?? null;
    return record;
  }

  #setHash(record: KeyRecord, value: Uint8Array): void {
    this.#digest.subtract(record.hashLow, record.hashHigh);
    this.#hash.of(record.key, record, value);
    record.hashLow = this.#hash.low;
    record.hashHigh = this.#hash.high;
    this.#digest.add(record.hashLow, record.hashHigh);
  }

  #clearHash(record: KeyRecord): void {
    this.#digest.subtract(record.hashLow, record.hashHigh);
    record.hashLow = 0;
    record.hashHigh = 0;
  }
}
