// The key index: which keys exist, and which revisions each of them had since the compaction floor.
// In memory; it finds the rows of the store, which hold the values. Rebuilt from the rows at open.
//
// It answers at the newest revision with full metadata, at an older one with the place of the
// history row. Counts and the digest over live keys are kept with every change, so that what a
// rebuilt index must give is in the applied record (L4, L10).
//
// Invariants: revisions of a key increase; a tombstone never follows a tombstone; keyCount() is
// the number of keys whose newest revision is a put.
import type { LeaseId, Revision } from "../base/ids.ts";
import type { Interval } from "./mvcc-interval.ts";

/** Of a live key. */
export interface KeyMeta {
  readonly createRevision: Revision;
  readonly modRevision: Revision;
  /** Puts since creation, from 1. */
  readonly version: number;
  readonly lease: LeaseId;
}

/** The place of one change: `sub` orders the changes of one revision, from 0. */
export interface RevisionRef {
  readonly main: Revision;
  readonly sub: number;
}

/** Called in key order with what is only valid during the call; false: stop. */
export type LiveVisit = (key: Uint8Array, meta: KeyMeta) => boolean;
/** Called for keys not live at the revision too (undefined), so that a walk can be bounded. */
export type PastVisit = (key: Uint8Array, at: RevisionRef | undefined) => boolean;

/** One step of removing old revisions: at most about `revisionsMax` of them, from key `from` on. */
export interface CompactionSlice {
  /** Nothing below this revision may be read any more. */
  readonly revision: Revision;
  readonly from: Uint8Array;
  readonly revisionsMax: number;
}

export interface KeyIndex {
  /** Live keys. */
  keyCount(): number;
  /** Order-independent, over every live key with its metadata and value: 16 hex digits. */
  digest(): string;

  find(key: Uint8Array): KeyMeta | undefined;
  /** The change that made what `key` was at `revision`; undefined: it did not exist then. */
  at(key: Uint8Array, revision: Revision): RevisionRef | undefined;

  /** Copies the key if it is new. The value is only hashed. */
  put(key: Uint8Array, at: RevisionRef, lease: LeaseId, value: Uint8Array): KeyMeta;
  /** The key must be live. */
  tombstone(key: Uint8Array, at: RevisionRef): void;

  /** Live keys in the interval: O(log n). */
  count(interval: Interval): number;
  /** Keys live at `revision` in the interval: walks them. */
  countAt(interval: Interval, revision: Revision): number;
  scan(interval: Interval, visit: LiveVisit): void;
  scanAt(interval: Interval, revision: Revision, visit: PastVisit): void;

  /**
   * Forgets what compaction at `revision` makes unreadable: of each key all but its newest change
   * <= revision, and that too if it is a tombstone; but nothing of `revision` itself. Each forgotten
   * change is reported, for its history row. Gives the key to go on from, or null: done.
   */
  compact(slice: CompactionSlice, forgotten: (at: RevisionRef) => void): Uint8Array | null;

  /** At open, all changes in the order of history; meta null: a tombstone. */
  restoreChange(key: Uint8Array, at: RevisionRef, meta: KeyMeta | null): void;
  /** At open, after all changes: the value of a live key, for the digest. */
  restoreValue(key: Uint8Array, value: Uint8Array): void;
}
