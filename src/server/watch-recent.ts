// The newest revisions, encoded, for watchers that fell behind a little: without it a watcher
// that re-reads the disk while writes go on would stay one scan behind for ever, and streams that
// stalled at the same value would each hold a copy of their own. Bounded by count and by bytes
// (the largest revisions leave nothing behind); everything older is read from the store.
//
// Invariant: the revisions are consecutive and end with the newest published one.
import { assert } from "../base/assert.ts";
import type { Revision } from "../base/ids.ts";
import type { EncodedRevision } from "./watch-encoding.ts";

export class RecentRevisions {
  readonly #revisionsMax: number;
  readonly #bytesMax: number;
  // A ring: revision r lies at r % revisionsMax.
  readonly #ring: (EncodedRevision | undefined)[];
  /** Oldest revision kept; #newest + 1 when none is. */
  #first: Revision;
  #newest: Revision;
  #bytes = 0;
  readonly #bytesOf: number[];

  constructor(newest: Revision, limits: { revisionsMax: number; bytesMax: number }) {
    this.#revisionsMax = limits.revisionsMax;
    this.#bytesMax = limits.bytesMax;
    this.#ring = Array.from({ length: limits.revisionsMax }, () => undefined);
    this.#bytesOf = Array.from({ length: limits.revisionsMax }, () => 0);
    this.#first = newest + 1;
    this.#newest = newest;
  }

  first(): Revision {
    return this.#first;
  }

  push(revision: EncodedRevision): void {
    assert(revision.revision === this.#newest + 1, "a published revision was left out");
    if (this.#newest - this.#first + 1 === this.#revisionsMax) this.#dropFirst();
    this.#newest = revision.revision;
    this.#ring[revision.revision % this.#revisionsMax] = revision;
    this.measure(revision);
  }

  get(revision: Revision): EncodedRevision {
    const found = this.#ring[revision % this.#revisionsMax];
    assert(found?.revision === revision, `revision ${revision} is not among the recent ones`);
    return found;
  }

  /** To be called when more of a kept revision may have been encoded. */
  measure(revision: EncodedRevision): void {
    if (revision.revision < this.#first) return;
    let bytes = 0;
    for (const event of revision.events) bytes += event.retainedBytes();
    const at = revision.revision % this.#revisionsMax;
    this.#bytes += bytes - (this.#bytesOf[at] as number);
    this.#bytesOf[at] = bytes;
    while (this.#bytes > this.#bytesMax) this.#dropFirst();
  }

  retainedBytes(): number {
    return this.#bytes;
  }

  #dropFirst(): void {
    const at = this.#first % this.#revisionsMax;
    this.#bytes -= this.#bytesOf[at] as number;
    this.#bytesOf[at] = 0;
    this.#ring[at] = undefined;
    this.#first += 1;
  }
}
