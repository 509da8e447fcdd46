// The changes of one command: puts and deletes under one main revision, visible to the command's
// own reads at once. Rows go to the store's overlay as they are made; nothing is taken back, so
// whoever opens this has checked that the command cannot fail half way.
//
// The last history row is held until the next change or the end, because it is marked as the last
// of its revision.
import { assert } from "../base/assert.ts";
import type { LeaseId, Revision } from "../base/ids.ts";
import { Event_EventType } from "../proto/mvccpb/kv.ts";
import type { Event, KeyValue } from "../proto/mvccpb/kv.ts";
import type { RangeRequest, RangeResponse } from "../proto/etcdserverpb/kv.ts";
import type { StateStore } from "../store/state-store.ts";
import type { KeyIndex, KeyMeta } from "./key-index.ts";
import { intervalOf, isEmptyInterval } from "./mvcc-interval.ts";
import { rangeResponse } from "./mvcc-range.ts";
import { withoutValue } from "./mvcc-reader.ts";
import type { MvccReader } from "./mvcc-reader.ts";
import { historyFlags, historyRowKey, latestRowKey } from "./mvcc-row.ts";
import type { RowEncoder } from "./mvcc-row.ts";
import type { RevisionEvents } from "./outcome.ts";

export interface Changes {
  /** The revision that the command makes if it changes anything. */
  readonly revision: Revision;
  find(key: Uint8Array): KeyMeta | undefined;
  read(key: Uint8Array): KeyValue | undefined;
  /** The request's revision is checked; 0 or less: newest, with the command's own writes. */
  range(request: RangeRequest): RangeResponse;
  /** Keeps the value until the events are dropped; the key is copied where it stays longer. */
  put(key: Uint8Array, value: Uint8Array, lease: LeaseId): void;
  /** What was removed, in key order; without `values` their values are empty. */
  deleteRange(key: Uint8Array, rangeEnd: Uint8Array, options: { values: boolean }): KeyValue[];
  /** Ends the command; null: nothing changed, and the revision stays. */
  end(): RevisionEvents | null;
}

export interface ChangesParts {
  readonly store: StateStore;
  readonly index: KeyIndex;
  readonly reader: MvccReader;
  readonly encoder: RowEncoder;
}

export class OpenChanges implements Changes {
  readonly revision: Revision;
  readonly #parts: ChangesParts;
  readonly #ended: (events: RevisionEvents | null) => void;
  readonly #events: Event[] = [];
  #heldRow: Uint8Array | null = null;
  #isOpen = true;

  /** `ended` is called once, before end() returns. */
  constructor(
    parts: ChangesParts,
    options: { revision: Revision; ended: (events: RevisionEvents | null) => void },
  ) {
    this.#parts = parts;
    this.revision = options.revision;
    this.#ended = options.ended;
  }

  find(key: Uint8Array): KeyMeta | undefined {
    return this.#parts.index.find(key);
  }

  read(key: Uint8Array): KeyValue | undefined {
    return this.#parts.reader.read(key);
  }

  range(request: RangeRequest): RangeResponse {
    assert(request.revision < this.revision, "a command reads no revision to come");
    const found = this.#parts.reader.range(request, request.revision > 0 ? request.revision : null);
    return rangeResponse(this.#events.length > 0 ? this.revision : this.revision - 1, found);
  }

  put(key: Uint8Array, value: Uint8Array, lease: LeaseId): void {
    assert(this.#isOpen, "a put after the command's end");
    const { index, encoder, store } = this.#parts;
    const at = { main: this.revision, sub: this.#events.length };
    const meta = index.put(key, at, lease, value);
    const row = encoder.put(key, meta, value);
    this.#holdRow(row);
    store.put(latestRowKey(key), row.subarray(1));
    const { createRevision, modRevision, version } = meta;
    const kv = { key, createRevision, modRevision, version, value, lease };
    this.#events.push({ type: Event_EventType.PUT, kv, prevKv: undefined });
  }

  deleteRange(key: Uint8Array, rangeEnd: Uint8Array, options: { values: boolean }): KeyValue[] {
    assert(this.#isOpen, "a delete after the command's end");
    const interval = intervalOf(key, rangeEnd);
    const removed: KeyValue[] = [];
    if (isEmptyInterval(interval)) return removed;
    const { index, reader } = this.#parts;
    index.scan(interval, (found, meta) => {
      removed.push(options.values ? reader.latest(found, meta) : withoutValue(found, meta));
      return true;
    });
    for (const pair of removed) this.#tombstone(pair.key);
    return removed;
  }

  #tombstone(key: Uint8Array): void {
    const { index, encoder, store } = this.#parts;
    index.tombstone(key, { main: this.revision, sub: this.#events.length });
    this.#holdRow(encoder.tombstone(key, this.revision));
    store.delete(latestRowKey(key));
    const kv = { ...deletedPair, key, modRevision: this.revision };
    this.#events.push({ type: Event_EventType.DELETE, kv, prevKv: undefined });
  }

  end(): RevisionEvents | null {
    assert(this.#isOpen, "a command ends once");
    this.#isOpen = false;
    const row = this.#heldRow;
    if (row !== null) row[0] = (row[0] as number) | historyFlags.last;
    this.#storeHeldRow();
    const events =
      this.#events.length === 0 ? null : { revision: this.revision, events: this.#events };
    this.#ended(events);
    return events;
  }

  // The row of the change about to be counted in #events.
  #holdRow(row: Uint8Array): void {
    this.#storeHeldRow();
    this.#heldRow = row;
  }

  #storeHeldRow(): void {
    if (this.#heldRow === null) return;
    this.#parts.store.put(historyRowKey(this.revision, this.#events.length - 1), this.#heldRow);
    this.#heldRow = null;
  }
}

const deletedPair = withoutValue(new Uint8Array(0), {
  createRevision: 0,
  modRevision: 0,
  version: 0,
  lease: "0" as LeaseId,
});
