// Reading the key space through index and store, synchronously: one key, or a range with all its
// options. The index says which row holds the answer; the store returns it, checked.
//
// A row that the index names and the store does not return, or that is not the one named, is damage
// (L4): the process stops, and the next start rebuilds. Never a wrong answer.
import type { Revision } from "../base/ids.ts";
import { emptyBytes } from "../base/bytes.ts";
import { RangeRequest_SortTarget as SortTarget } from "../proto/etcdserverpb/kv.ts";
import type { RangeRequest } from "../proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../proto/mvccpb/kv.ts";
import type { StateStore } from "../store/state-store.ts";
import type { KeyIndex, KeyMeta, RevisionRef } from "./key-index.ts";
import { intervalOf, isEmptyInterval } from "./mvcc-interval.ts";
import type { Interval } from "./mvcc-interval.ts";
import { isPlainRange, limitOf, passesFilters, sortPairs } from "./mvcc-range.ts";
import { decodeKeyValue, historyRowKey, latestRowKey, modRevisionOf } from "./mvcc-row.ts";

export interface FoundPairs {
  readonly kvs: KeyValue[];
  readonly more: boolean;
  readonly count: number;
}

export class MvccReader {
  readonly #store: StateStore;
  readonly #index: KeyIndex;

  constructor(deps: { store: StateStore; index: KeyIndex }) {
    this.#store = deps.store;
    this.#index = deps.index;
  }

  read(key: Uint8Array): KeyValue | undefined {
    const meta = this.#index.find(key);
    return meta === undefined ? undefined : this.latest(key, meta);
  }

  readAt(key: Uint8Array, revision: Revision): KeyValue | undefined {
    const at = this.#index.at(key, revision);
    return at === undefined ? undefined : this.history(at);
  }

  /** The row of a key, which is its KeyValue as the wire has it; undefined: it is not live. */
  latestRow(key: Uint8Array): Uint8Array | undefined {
    const meta = this.#index.find(key);
    return meta === undefined ? undefined : this.#checkedRow(key, meta);
  }

  /** The pair of a key that is live with this metadata. */
  latest(key: Uint8Array, meta: Pick<KeyMeta, "modRevision">): KeyValue {
    return decodeKeyValue(this.#checkedRow(key, meta));
  }

  #checkedRow(key: Uint8Array, meta: Pick<KeyMeta, "modRevision">): Uint8Array {
    const row = this.#store.get(latestRowKey(key));
    if (row === undefined) this.#store.damaged("a live key has no row");
    const modRevision = modRevisionOf(row);
    if (modRevision !== meta.modRevision) {
      this.#store.damaged(`a row of revision ${modRevision}, expected ${meta.modRevision}`);
    }
    return row;
  }

  /** The pair that was put at this place of the history. */
  history(at: RevisionRef): KeyValue {
    const row = this.#store.get(historyRowKey(at.main, at.sub));
    if (row === undefined) this.#store.damaged(`revision ${at.main}.${at.sub} has no row`);
    return decodeKeyValue(row, 1);
  }

  /** Null: newest, with what the open command has written. */
  range(request: RangeRequest, revision: Revision | null): FoundPairs {
    if (revision === null && request.rangeEnd.length === 0) return this.#oneNewest(request);
    const interval = intervalOf(request.key, request.rangeEnd);
    if (isEmptyInterval(interval)) return { kvs: [], more: false, count: 0 };
    return revision === null
      ? this.#rangeNewest(request, interval)
      : this.#rangeAt(request, interval, revision);
  }

  // The commonest read by far: one search of the index where an interval takes three.
  #oneNewest(request: RangeRequest): FoundPairs {
    const { key } = request;
    const meta = this.#index.find(key);
    if (meta === undefined) return { kvs: [], more: false, count: 0 };
    const found = withoutValue(key, meta);
    if (request.countOnly || !passesFilters(request, found)) {
      return { kvs: [], more: false, count: 1 };
    }
    return { kvs: [request.keysOnly ? found : this.latest(key, meta)], more: false, count: 1 };
  }

  // Filters and sorts by metadata from the index, and reads only the rows that remain.
  #rangeNewest(request: RangeRequest, interval: Interval): FoundPairs {
    const count = this.#index.count(interval);
    if (request.countOnly || count === 0) return { kvs: [], more: false, count };
    const limit = limitOf(request);
    const isPlain = isPlainRange(request);
    const kvs: KeyValue[] = [];
    this.#index.scan(interval, (key, meta) => {
      const pair = withoutValue(key, meta);
      if (isPlain || passesFilters(request, pair)) kvs.push(pair);
      return !isPlain || kvs.length < limit;
    });
    const byValue = request.sortTarget === SortTarget.VALUE;
    if (byValue) this.#fillValues(kvs);
    sortPairs(request, kvs);
    const more = isPlain ? count > limit : kvs.length > limit;
    if (kvs.length > limit) kvs.length = limit;
    if (request.keysOnly) dropValues(kvs);
    else if (!byValue) this.#fillValues(kvs);
    return { kvs, more, count };
  }

  #rangeAt(request: RangeRequest, interval: Interval, revision: Revision): FoundPairs {
    if (request.countOnly) {
      return { kvs: [], more: false, count: this.#index.countAt(interval, revision) };
    }
    const limit = limitOf(request);
    const isPlain = isPlainRange(request);
    const kvs: KeyValue[] = [];
    let count = 0;
    this.#index.scanAt(interval, revision, (_key, at) => {
      if (at === undefined) return true;
      count++;
      if (isPlain && kvs.length >= limit) return true;
      const pair = this.history(at);
      if (isPlain || passesFilters(request, pair)) kvs.push(pair);
      return true;
    });
    sortPairs(request, kvs);
    const more = isPlain ? count > limit : kvs.length > limit;
    if (kvs.length > limit) kvs.length = limit;
    if (request.keysOnly) dropValues(kvs);
    return { kvs, more, count };
  }

  #fillValues(kvs: readonly KeyValue[]): void {
    for (const pair of kvs) pair.value = this.latest(pair.key, pair).value;
  }
}

/** The pair of a key as the index knows it. */
export function withoutValue(key: Uint8Array, meta: KeyMeta): KeyValue {
  const { createRevision, modRevision, version, lease } = meta;
  return { key, createRevision, modRevision, version, value: emptyBytes, lease };
}

export function dropValues(kvs: readonly KeyValue[]): void {
  for (const pair of kvs) pair.value = emptyBytes;
}
