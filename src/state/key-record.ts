// One key of the index with its changes since the compaction floor: the newest with its metadata,
// the older ones as bare places (older-changes.ts), because a history row holds the rest.
import type { LeaseId, Revision } from "../base/ids.ts";
import { noLease } from "../base/ids.ts";
import type { KeyMeta, RevisionRef } from "./key-index.ts";
import { OlderChanges } from "./older-changes.ts";

export class KeyRecord implements KeyMeta {
  /** Owned, never changed. */
  readonly key: Uint8Array;
  createRevision: Revision = 0;
  modRevision: Revision = 0;
  /** 0: the newest change is a tombstone. */
  version = 0;
  lease: LeaseId = noLease;
  /** Of the newest change. */
  sub = 0;
  /** What the digest holds for this key; 0 while it is not live. */
  hashLow = 0;
  hashHigh = 0;
  /** Null: none. */
  #older: OlderChanges | null = null;

  constructor(key: Uint8Array) {
    this.key = key;
  }

  isLive(): boolean {
    return this.version > 0;
  }

  meta(): KeyMeta {
    const { createRevision, modRevision, version, lease } = this;
    return { createRevision, modRevision, version, lease };
  }

  /** Takes a new newest change; meta null: a tombstone. */
  change(at: RevisionRef, meta: KeyMeta | null): void {
    if (this.modRevision > 0) {
      this.#older ??= new OlderChanges();
      const { modRevision: main, sub, version } = this;
      this.#older.push({ main, sub, isTombstone: version === 0 });
    }
    this.createRevision = meta === null ? 0 : meta.createRevision;
    this.modRevision = at.main;
    this.version = meta === null ? 0 : meta.version;
    this.lease = meta === null ? noLease : meta.lease;
    this.sub = at.sub;
  }

  /** The change that holds at `revision`; undefined: none, or a tombstone. */
  at(revision: Revision): RevisionRef | undefined {
    if (this.modRevision <= revision) {
      return this.version === 0 ? undefined : { main: this.modRevision, sub: this.sub };
    }
    const older = this.#older;
    const count = older?.countUpTo(revision) ?? 0;
    if (older === null || count === 0) return undefined;
    const { main, sub, isTombstone } = older.get(count - 1);
    return isTombstone ? undefined : { main, sub };
  }

  /**
   * Forgets at most `changesMax` changes that compaction at `revision` makes unreadable, oldest
   * first. Null: more are left; otherwise whether the whole key is forgotten.
   */
  compact(
    revision: Revision,
    changesMax: number,
    forgotten: (at: RevisionRef) => void,
  ): { isGone: boolean } | null {
    const isNewestCovered = this.modRevision <= revision;
    const isGone = this.version === 0 && this.modRevision < revision;
    const older = this.#older;
    if (older !== null) {
      const superseded = isNewestCovered ? older.count() : coveredOlder(older, revision);
      // Of `revision` itself all changes stay: its history is whole, and can be proved so.
      const count = Math.min(superseded, older.countUpTo(revision - 1));
      const taken = Math.min(count, changesMax);
      older.forget(taken, forgotten);
      if (older.count() === 0) this.#older = null;
      if (taken < count) return null;
    }
    if (isGone) forgotten({ main: this.modRevision, sub: this.sub });
    return { isGone };
  }
}

// How many older changes go when the newest one is above `revision`: all covered ones but the
// last, and that too if it is a tombstone from before `revision`.
function coveredOlder(older: OlderChanges, revision: Revision): number {
  const covered = older.countUpTo(revision);
  if (covered === 0) return 0;
  const { main, isTombstone } = older.get(covered - 1);
  return isTombstone && main < revision ? covered : covered - 1;
}
