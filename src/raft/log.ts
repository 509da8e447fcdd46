// The log as consensus sees it: a tail in memory bounded by bytes, what of it is on disk, and the
// terms of older entries as far as this process has seen them. Entries before the tail are on disk
// only; who needs them asks the loop for them (EntriesWanted). It does no I/O.
//
//   firstIndex ....... | tailFirst ........ durable ....... saved ........ last
//   on disk only       | also in memory     synced          given to disk  not given yet
//
// Invariants: durable <= saved <= last; only entries at or below both commit and durable leave the
// tail, so every entry that could be cut off, or that was not synced, is in memory.
//
// Cutting the log lowers durable, saved and every write under way to the entry before the cut: a
// sync that ends later vouches only for what it wrote and nobody replaced, never for the entries
// that now stand at the same indexes.
import { assert } from "../base/assert.ts";
import type { Index, Term } from "../base/ids.ts";
import { entryBytes } from "./codec.ts";
import type { Entry, EntryId } from "./entry.ts";

/** Entries from `first` up to the next run's first have this term. */
interface TermRun {
  readonly term: Term;
  readonly first: Index;
}

/** A write that the disk has not confirmed. Everything up to `last` is synced when it has. */
interface PendingWrite {
  readonly sync: number;
  last: Index;
}

/** Stands in spent slots, so that they keep no entry's bytes. */
const spentEntry: Entry = { term: 0, index: 0, kind: "normal", data: new Uint8Array(0) };

/** Runs kept; older terms are forgotten and read from disk again. */
const termRunsMax = 1024;

export class RaftLog {
  /** #entries[#head] is the entry at #tailFirst; slots before #head are spent. */
  #entries: Entry[] = [];
  #head = 0;
  #tailFirst: Index;
  /** #byteEnds[i]: bytes of all entries ever in the tail, up to and with #entries[i]. */
  #byteEnds: number[] = [];
  #bytesBefore = 0;
  /** Rising in term and first. Terms from #runs[0].first on are known. Never empty. */
  #runs: TermRun[];
  #durable: Index;
  #saved: Index;
  /** Rising in sync, never falling in last. */
  #pendingWrites: PendingWrite[] = [];
  readonly #tailBytesMax: number;
  readonly #firstIndex: Index;

  constructor(
    restored: { tail: readonly Entry[]; termBeforeTail: Term; firstIndex: Index },
    tailBytesMax: number,
  ) {
    this.#tailBytesMax = tailBytesMax;
    this.#firstIndex = restored.firstIndex;
    this.#tailFirst = restored.tail[0]?.index ?? restored.firstIndex;
    assert(this.#tailFirst >= restored.firstIndex, "the tail starts before the log");
    this.#runs = [{ term: restored.termBeforeTail, first: this.#tailFirst - 1 }];
    this.#durable = this.#saved = this.#tailFirst - 1;
    for (const entry of restored.tail) this.#push(entry);
    this.#durable = this.#saved = this.last();
  }

  /** Index of the newest entry; 0 when there is none. */
  last(): Index {
    return this.#tailFirst + this.#entries.length - this.#head - 1;
  }

  lastId(): EntryId {
    const last = this.last();
    const term = this.termAt(last);
    assert(term !== null, "the last entry's term is unknown");
    return { term, index: last };
  }

  /** First entry on disk. */
  firstIndex(): Index {
    return this.#firstIndex;
  }

  /** First entry in memory; last() + 1 when there is none. */
  tailFirst(): Index {
    return this.#tailFirst;
  }

  /** Everything up to here is synced on this member, as it stands now. */
  durable(): Index {
    return this.#durable;
  }

  /** Term of the entry at `index` (0 at 0); null when only the disk knows. */
  termAt(index: Index): Term | null {
    assert(index >= 0 && index <= this.last(), "no entry at this index");
    if (index === 0) return 0;
    if (index >= this.#tailFirst) return this.#at(index).term;
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i] as TermRun;
      if (run.first <= index) return run.term;
    }
    return null;
  }

  /**
   * The highest index from `floor` to `from` whose term is at most `termMax`; where terms are not
   * known, the highest index whose term is not. The caller knows that the logs agree at `floor`.
   */
  agreementAtMost(from: Index, termMax: Term, floor: Index): Index {
    let runEnd = this.last();
    for (let i = this.#runs.length - 1; i >= 0; i--) {
      const run = this.#runs[i] as TermRun;
      const candidate = Math.min(from, runEnd);
      if (run.term <= termMax && candidate >= run.first) return Math.max(candidate, floor);
      runEnd = run.first - 1;
    }
    return Math.max(Math.min(from, runEnd), floor);
  }

  /** Adds one entry at the end. */
  append(entry: Entry): void {
    assert(entry.index === this.last() + 1, "an entry that does not follow the last");
    this.#push(entry);
  }

  /** Cuts off `first` and everything after it. The caller appends something in its place. */
  truncate(first: Index): void {
    assert(first >= this.#tailFirst && first <= this.last(), "cannot cut the log here");
    const keep = this.#head + first - this.#tailFirst;
    this.#entries.length = keep;
    this.#byteEnds.length = keep;
    while (this.#runs.length > 1 && (this.#runs.at(-1) as TermRun).first >= first) this.#runs.pop();
    this.#durable = Math.min(this.#durable, first - 1);
    this.#saved = Math.min(this.#saved, first - 1);
    for (const write of this.#pendingWrites) write.last = Math.min(write.last, first - 1);
  }

  /** Entries first .. last, cut after bytesMax but never empty. They must be in the tail. */
  slice(first: Index, last: Index, bytesMax: number): Entry[] {
    assert(first >= this.#tailFirst && first <= last && last <= this.last(), "slice out of tail");
    const start = this.#head + first - this.#tailFirst;
    const end = this.#head + last - this.#tailFirst + 1;
    const byteLimit = this.#byteEnd(start - 1) + bytesMax;
    let stop = end;
    if (this.#byteEnd(end - 1) > byteLimit) {
      stop = start + 1;
      while (stop < end && this.#byteEnd(stop) <= byteLimit) stop++;
    }
    return this.#entries.slice(start, stop);
  }

  /** Bytes of the entries after `index`, which must reach down to the tail. */
  bytesAfter(index: Index): number {
    assert(index >= this.#tailFirst - 1 && index <= this.last(), "bytes out of tail");
    const before = this.#byteEnd(this.#head + index - this.#tailFirst);
    return this.#byteEnd(this.#entries.length - 1) - before;
  }

  tailBytes(): number {
    return this.bytesAfter(this.#tailFirst - 1);
  }

  hasUnsaved(): boolean {
    return this.#saved < this.last();
  }

  /** What the disk was not given yet, for the write named `sync`. */
  takeUnsaved(sync: number): readonly Entry[] {
    const last = this.last();
    this.#pendingWrites.push({ sync, last });
    if (this.#saved === last) return [];
    const entries = this.slice(this.#saved + 1, last, Infinity);
    this.#saved = last;
    return entries;
  }

  /** The write named `sync`, and all before it, are on disk. */
  synced(sync: number): void {
    let count = 0;
    for (const write of this.#pendingWrites) {
      if (write.sync > sync) break;
      this.#durable = Math.max(this.#durable, write.last);
      count++;
    }
    this.#pendingWrites.splice(0, count);
  }

  /** Lets the oldest entries go while the tail is too large. Keeps all after `commit`. */
  trim(commit: Index): void {
    const lastOut = Math.min(commit, this.#durable);
    while (this.#tailFirst <= lastOut && this.tailBytes() > this.#tailBytesMax) {
      this.#bytesBefore = this.#byteEnd(this.#head);
      this.#entries[this.#head] = spentEntry;
      this.#head++;
      this.#tailFirst++;
    }
    while (this.#runs.length > termRunsMax && (this.#runs[1] as TermRun).first < this.#tailFirst) {
      this.#runs.shift();
    }
    if (this.#head >= 256 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#byteEnds = this.#byteEnds.slice(this.#head);
      this.#head = 0;
    }
  }

  #at(index: Index): Entry {
    const entry = this.#entries[this.#head + index - this.#tailFirst];
    assert(entry?.index === index, "the tail does not hold this index");
    return entry;
  }

  #byteEnd(slot: number): number {
    return slot < this.#head ? this.#bytesBefore : (this.#byteEnds[slot] as number);
  }

  #push(entry: Entry): void {
    assert(entry.kind === "normal", "an entry of a kind that no feature writes");
    const lastTerm = (this.#runs.at(-1) as TermRun).term;
    assert(entry.index === this.last() + 1 && entry.term >= lastTerm, "entries out of order");
    const bytes = this.#byteEnd(this.#entries.length - 1) + entryBytes(entry);
    this.#entries.push(entry);
    this.#byteEnds.push(bytes);
    if (entry.term !== lastTerm) this.#runs.push({ term: entry.term, first: entry.index });
  }
}
