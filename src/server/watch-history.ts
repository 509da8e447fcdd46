// What watchers re-read: whole revisions from the history rows, through a pinned view, so that
// writes and compactions that go on meanwhile change nothing in what is read. Reading is bounded
// by revisions and bytes; only one revision, if it is larger than that, is read in one piece,
// because a watcher gets it in one piece.
//
// A view costs the store a layer, and holds memory and files while it is open: it serves a limited
// number of scans, and none is held when nothing is left to scan. One scan at a time.
import { assert } from "../base/assert.ts";
import type { Revision } from "../base/ids.ts";
import { Event_EventType } from "../proto/mvccpb/kv.ts";
import type { Event, KeyValue } from "../proto/mvccpb/kv.ts";
import { firstRevision } from "../state/mvcc.ts";
import {
  decodeKeyValue,
  historyFlags,
  historyRowKey,
  parseHistoryRowKey,
} from "../state/mvcc-row.ts";
import type { RevisionEvents } from "../state/outcome.ts";
import type { StoreView } from "../store/store-view.ts";

/** The revisions and past values of the key space, as the state machine answers them at once. */
export interface RevisionReader {
  revision(): Revision;
  compactRevision(): Revision;
  /** Undefined: no value then, or compacted away. */
  read(key: Uint8Array, at: Revision): KeyValue | undefined;
}

export interface ScanLimits {
  readonly revisionsMax: number;
  readonly bytesMax: number;
}

// Rows fetched at a time; the bytes bound is the one that counts.
const rowsMax = 1024;
const scansPerViewMax = 32;

interface PinnedView {
  readonly view: StoreView;
  /** The store's revision when it was pinned. */
  readonly revision: Revision;
  scansLeft: number;
}

export class WatchHistory {
  readonly #reader: RevisionReader;
  readonly #store: { pin(): StoreView };
  #pinned: PinnedView | null = null;

  constructor({ reader, store }: { reader: RevisionReader; store: { pin(): StoreView } }) {
    this.#reader = reader;
    this.#store = store;
  }

  revision(): Revision {
    return this.#reader.revision();
  }

  compactRevision(): Revision {
    return this.#reader.compactRevision();
  }

  readonly readAt = (key: Uint8Array, at: Revision): KeyValue | undefined =>
    this.#reader.read(key, at);

  /** The whole revisions from `first` on: one at least, and none above `last`, which is published.
   * `first` is not compacted. */
  async scan(first: Revision, last: Revision, limits: ScanLimits): Promise<RevisionEvents[]> {
    assert(first >= this.#reader.compactRevision(), "a scan starts below the compact revision");
    assert(first <= last, "a scan without revisions");
    if (this.#pinned !== null && !isOfUse(this.#pinned, first)) await this.release();
    this.#pinned ??= {
      view: this.#store.pin(),
      revision: this.#reader.revision(),
      scansLeft: scansPerViewMax,
    };
    this.#pinned.scansLeft -= 1;
    const { view, revision } = this.#pinned;
    const end = Math.min(last, revision, first + limits.revisionsMax - 1) + 1;
    return readRevisions(view, first, end, limits.bytesMax);
  }

  /** No scan is to follow soon. */
  async release(): Promise<void> {
    const pinned = this.#pinned;
    this.#pinned = null;
    await pinned?.view.close();
  }
}

function isOfUse({ revision, scansLeft }: PinnedView, first: Revision): boolean {
  return scansLeft > 0 && first <= revision;
}

async function readRevisions(
  view: StoreView,
  first: Revision,
  end: Revision,
  bytesMax: number,
): Promise<RevisionEvents[]> {
  // The empty store is revision 1, and has no rows.
  const revisions = first === firstRevision ? [{ revision: first, events: [] as Event[] }] : [];
  let events: Event[] = [];
  let from = historyRowKey(first, 0);
  for (;;) {
    const rows = await view.rows(
      { first: from, end: historyRowKey(end, 0) },
      { rowsMax, bytesMax },
    );
    for (const { key, value } of rows) {
      const { main, sub } = parseHistoryRowKey(key);
      assert(main === first + revisions.length, `the history lacks revision ${main}'s forerunner`);
      assert(sub === events.length, `the history of revision ${main} lacks a row`);
      events.push(decodeEvent(value));
      if ((flagsOf(value) & historyFlags.last) === 0) continue;
      revisions.push({ revision: main, events });
      events = [];
    }
    // A revision that the limit has cut is left to the next scan, unless it is the only one.
    if (revisions.length > 0) return revisions;
    assert(rows.length > 0, `the history ends inside revision ${first}`);
    from = historyRowKey(first, events.length);
  }
}

function flagsOf(row: Uint8Array): number {
  assert(row.length > 0, "an empty history row");
  return row[0] as number;
}

function decodeEvent(row: Uint8Array): Event {
  const isDelete = (flagsOf(row) & historyFlags.delete) !== 0;
  const type = isDelete ? Event_EventType.DELETE : Event_EventType.PUT;
  return { type, kv: decodeKeyValue(row, 1), prevKv: undefined };
}
