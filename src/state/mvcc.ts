// The multi-version key space: revisions, reads at any revision since compaction, the changes of
// one command at a time, and compaction.
//
// It does not know requests other than ranges, nor leases beyond the id on a key: that is the
// machine's. Synchronous and deterministic; what it writes goes to the store's overlay and is
// made durable by whoever commits.
//
// Compaction has two halves. compact() moves the floor: replicated, at once, decides what may be
// read. compactStep() removes what lies below: local, in slices between entries, and resumed after
// a crash, for the row that says how far removal came is written after the last slice. Members may
// differ in how much of it they have done, never in an answer.
import { assert } from "../base/assert.ts";
import type { ErrorCode } from "../base/errors.ts";
import { emptyBytes } from "../base/bytes.ts";
import type { LeaseId, Revision } from "../base/ids.ts";
import { noLease } from "../base/ids.ts";
import type { RangeRequest, RangeResponse } from "../proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../proto/mvccpb/kv.ts";
import type { Applied, StateStore } from "../store/state-store.ts";
import type { KeyIndex, KeyMeta, RevisionRef } from "./key-index.ts";
import { OpenChanges } from "./mvcc-changes.ts";
import type { Changes } from "./mvcc-changes.ts";
import { everyKey } from "./mvcc-interval.ts";
import { rangeResponse } from "./mvcc-range.ts";
import { MvccReader } from "./mvcc-reader.ts";
import { compactionRowKey, encodeCompactionRow, historyRowKey, RowEncoder } from "./mvcc-row.ts";

export type { Changes } from "./mvcc-changes.ts";
export type { KeyMeta } from "./key-index.ts";

/** Of the empty store. */
export const firstRevision: Revision = 1;
/** The floor before the first compaction. */
export const neverCompacted: Revision = -1;

/** One pass over all keys, removing what is unreadable below `revision`. */
interface RemovalPass {
  readonly revision: Revision;
  from: Uint8Array;
}

export class Mvcc {
  readonly #store: StateStore;
  readonly #index: KeyIndex;
  readonly #reader: MvccReader;
  readonly #encoder = new RowEncoder();
  #revision: Revision;
  #compactRevision: Revision;
  // History below this revision is removed. <= #compactRevision.
  #removedRevision: Revision;
  #pass: RemovalPass | null = null;
  #changes: OpenChanges | null = null;

  /** The index holds what the store's applied record says; openState sees to it. */
  constructor(
    deps: { store: StateStore; index: KeyIndex },
    options: { removedRevision: Revision },
  ) {
    this.#store = deps.store;
    this.#index = deps.index;
    this.#reader = new MvccReader(deps);
    this.#revision = deps.store.applied.revision;
    this.#compactRevision = deps.store.applied.compactRevision;
    this.#removedRevision = options.removedRevision;
  }

  /** 1 when empty. */
  revision(): Revision {
    return this.#revision;
  }

  /** -1 until the first compaction. */
  compactRevision(): Revision {
    return this.#compactRevision;
  }

  /** What the applied record says of the key space. */
  summary(): Omit<Applied, "index" | "term"> {
    return {
      revision: this.#revision,
      compactRevision: this.#compactRevision,
      keyCount: this.#index.keyCount(),
      digest: this.#index.digest(),
    };
  }

  /** Null: can be read. Zero or less means newest. */
  checkRevision(revision: Revision): ErrorCode | null {
    if (revision <= 0) return null;
    if (revision > this.#revision) return "futureRev";
    return revision < this.#compactRevision ? "compacted" : null;
  }

  /** What `key` is at the newest revision, as a KeyValue in protobuf's form; undefined: nothing. */
  latestRow(key: Uint8Array): Uint8Array | undefined {
    return this.#reader.latestRow(key);
  }

  /** Starts the changes of one command; they must end before the next begins. */
  begin(): Changes {
    assert(this.#changes === null, "one command at a time");
    const parts = {
      store: this.#store,
      index: this.#index,
      reader: this.#reader,
      encoder: this.#encoder,
    };
    this.#changes = new OpenChanges(parts, {
      revision: this.#revision + 1,
      ended: (events) => {
        this.#changes = null;
        if (events !== null) this.#revision = events.revision;
      },
    });
    return this.#changes;
  }

  find(key: Uint8Array): KeyMeta | undefined {
    return this.#index.find(key);
  }

  /** At the newest revision, or at `at`; what was compacted away is undefined too. */
  read(key: Uint8Array, at?: Revision): KeyValue | undefined {
    if (at === undefined || at >= this.#revision) return this.#reader.read(key);
    return at < this.#compactRevision ? undefined : this.#reader.readAt(key, at);
  }

  /** In one go: for commands, and for answers known to be small. */
  range(request: RangeRequest): RangeResponse | ErrorCode {
    const { revision } = request;
    const code = this.checkRevision(revision);
    if (code !== null) return code;
    const isNewest = revision <= 0 || revision === this.#revision;
    return rangeResponse(this.#revision, this.#reader.range(request, isNewest ? null : revision));
  }

  /** Every live key that has a lease, in key order. */
  eachLeased(visit: (key: Uint8Array, lease: LeaseId) => void): void {
    this.#index.scan(everyKey, (key, { lease }) => {
      if (lease !== noLease) visit(key, lease);
      return true;
    });
  }

  /** The index, for reads in slices (server/range.ts); never written through. */
  index(): Pick<KeyIndex, "count" | "scanAt"> {
    return this.#index;
  }

  /** The pair put at a place that the index gave, not compacted since. */
  pairAt(at: RevisionRef): KeyValue {
    return this.#reader.history(at);
  }

  /** Moves the floor; null: moved. */
  compact(revision: Revision): ErrorCode | null {
    assert(this.#changes === null, "compaction is a command of its own");
    if (revision <= this.#compactRevision) return "compacted";
    if (revision > this.#revision) return "futureRev";
    this.#compactRevision = revision;
    return null;
  }

  /** Removes about `rowsMax` rows of history below the floor; true: more is left. */
  compactStep(rowsMax: number): boolean {
    assert(this.#changes === null, "history is removed between commands");
    if (this.#pass === null) {
      if (this.#removedRevision >= this.#compactRevision) return false;
      assert(
        this.#store.applied.compactRevision === this.#compactRevision,
        "the floor is committed before history goes",
      );
      this.#pass = { revision: this.#compactRevision, from: emptyBytes };
    }
    const pass = this.#pass;
    const slice = { revision: pass.revision, from: pass.from, revisionsMax: rowsMax };
    const next = this.#index.compact(slice, ({ main, sub }) => {
      this.#store.delete(historyRowKey(main, sub));
    });
    if (next === null) {
      this.#pass = null;
      this.#removedRevision = pass.revision;
      this.#store.put(compactionRowKey, encodeCompactionRow(Math.max(0, pass.revision)));
    } else {
      pass.from = next;
    }
    this.#store.commit(this.#store.applied);
    return this.#removedRevision < this.#compactRevision;
  }
}
