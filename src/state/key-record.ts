// One key of the index with its changes since the compaction floor: the newest with its metadata,
// the older ones as bare places, two numbers each, because a history row holds the rest.
import type { LeaseId, Revision } from "../base/ids.ts";
import { noLease } from "../base/ids.ts";
import type { KeyMeta, RevisionRef } from "./key-index.ts";

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
  // Main revision, then 2 * sub + (1: tombstone), for each older change, oldest first.
  #older: number[] | null = null;

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
      this.#older ??= [];
      this.#older.push(this.modRevision, this.sub * 2 + (this.version === 0 ? 1 : 0));
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
    if (older === null) return undefined;
    const count = countUpTo(older, revision);
    if (count === 0) return undefined;
    const code = older[2 * count - 1] as number;
    return code % 2 === 1
      ? undefined
      : { main: older[2 * count - 2] as number, sub: Math.floor(code / 2) };
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
      const superseded = isNewestCovered ? older.length / 2 : coveredOlder(older, revision);
      // Of `revision` itself all changes stay: its history is whole, and can be proved so.
      const count = Math.min(superseded, countUpTo(older, revision - 1));
      const taken = Math.min(count, changesMax);
      for (let i = 0; i < taken; i++) {
        const code = older[2 * i + 1] as number;
        forgotten({ main: older[2 * i] as number, sub: Math.floor(code / 2) });
      }
      if (2 * taken === older.length) this.#older = null;
      else if (taken > 0) older.splice(0, 2 * taken);
      if (taken < count) return null;
    }
    if (isGone) forgotten({ main: this.modRevision, sub: this.sub });
    return { isGone };
  }
}

// How many of the older changes have a main revision <= revision.
function countUpTo(older: readonly number[], revision: Revision): number {
  let low = 0;
  let high = older.length / 2;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((older[2 * middle] as number) <= revision) low = middle + 1;
    else high = middle;
  }
  return low;
}

// How many older changes go when the newest one is above `revision`: all covered ones but the
// last, and that too if it is a tombstone from before `revision`.
function coveredOlder(older: readonly number[], revision: Revision): number {
  const covered = countUpTo(older, revision);
  if (covered === 0) return 0;
  const isTombstone = (older[2 * covered - 1] as number) % 2 === 1;
  return isTombstone && (older[2 * covered - 2] as number) < revision ? covered : covered - 1;
}
