// The log in memory, for the simulator and for tests: the contract of log.ts with a disk that can
// be slow and a process that can die. Group commit is as in the write-ahead log: appends given
// while a sync runs share the next one. It has no bytes and no torn pages; test/sim/sim-files.ts
// has them, below the real log.
//
//   append → gathering → (sync, syncDelayMs of the clock) → durable → promise resolves
//
// MemoryDisk is what survives a crash; a MemoryLog is one life on it.
import { assert } from "../base/assert.ts";
import type { Clock, Timer } from "../base/clock.ts";
import type { ClusterId, Index, MemberId, StoreId } from "../base/ids.ts";
import type { Configuration, Entry, HardState } from "../raft/entry.ts";
import { entryBytes } from "../raft/codec.ts";
import type { LogAppend } from "../raft/ready.ts";
import type { Log, Recovered } from "./log.ts";

export interface MemoryDiskOptions {
  readonly cluster: ClusterId;
  readonly member: MemberId;
  readonly store: StoreId;
  readonly configuration: Configuration;
}

/** What survives. Its entries start at index 1. */
export class MemoryDisk {
  readonly identity: Omit<MemoryDiskOptions, "configuration">;
  readonly configuration: Configuration;
  readonly entries: Entry[] = [];
  hardState: HardState = { term: 0, vote: null, commit: 0 };
  /** Starts so far. */
  starts = 0;

  constructor(options: MemoryDiskOptions) {
    const { configuration, ...identity } = options;
    this.identity = identity;
    this.configuration = configuration;
  }

  write(batch: LogAppend): void {
    const first = batch.entries[0];
    if (first !== undefined) {
      assert(first.index >= 1 && first.index <= this.entries.length + 1, "append leaves a gap");
      this.entries.length = first.index - 1;
      for (const entry of batch.entries) {
        assert(entry.index === this.entries.length + 1, "entries are not contiguous");
        this.entries.push(entry);
      }
    }
    if (batch.hardState !== null) this.hardState = batch.hardState;
  }
}

interface Waiting {
  readonly batch: LogAppend;
  readonly givenAt: number;
  readonly done: () => void;
}

export interface MemoryLogOptions {
  readonly clock: Clock;
  /** How long the sync that starts now lasts. */
  readonly syncDelayMs: () => number;
}

export class MemoryLog implements Log {
  readonly recovered: Recovered;
  readonly #disk: MemoryDisk;
  readonly #clock: Clock;
  readonly #syncDelayMs: () => number;
  #gathering: Waiting[] = [];
  #syncing: Waiting[] = [];
  #timer: Timer | null = null;
  #closed = false;
  #drained: (() => void) | null = null;

  constructor(disk: MemoryDisk, options: MemoryLogOptions) {
    this.#disk = disk;
    this.#clock = options.clock;
    this.#syncDelayMs = options.syncDelayMs;
    disk.starts++;
    this.recovered = {
      identity: { ...disk.identity, start: disk.starts },
      hardState: disk.hardState,
      configuration: disk.configuration,
      firstIndex: 1,
      lastIndex: disk.entries.length,
      tornPages: 0,
    };
  }

  append(batch: LogAppend): Promise<void> {
    assert(!this.#closed, "append to a closed log");
    return new Promise((done) => {
      this.#gathering.push({ batch, givenAt: this.#clock.now(), done });
      if (this.#syncing.length === 0) this.#startSync();
    });
  }

  read(first: Index, last: Index, bytesMax: number): Promise<Entry[]> {
    const log = this.#upTo(last);
    assert(first >= 1 && first <= last && last <= log.length, "read outside the log");
    const entries: Entry[] = [];
    let bytes = 0;
    for (let index = first; index <= last; index++) {
      const entry = log[index - 1] as Entry;
      bytes += entryBytes(entry);
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry);
    }
    return Promise.resolve(entries);
  }

  syncAgeMs(): number {
    const oldest = this.#syncing[0];
    return oldest === undefined ? 0 : this.#clock.now() - oldest.givenAt;
  }

  close(): Promise<void> {
    this.#closed = true;
    if (this.#syncing.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }

  /**
   * The process dies now. What was not synced is gone; the batch whose sync was running is kept
   * whole when `keepSyncing`, for the disk may have had it. No promise resolves after this.
   */
  crash(keepSyncing: boolean): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#closed = true;
    if (keepSyncing) for (const waiting of this.#syncing) this.#disk.write(waiting.batch);
    this.#syncing = [];
    this.#gathering = [];
  }

  #startSync(): void {
    this.#syncing = this.#gathering;
    this.#gathering = [];
    this.#timer = this.#clock.after(this.#syncDelayMs(), () => this.#endSync());
  }

  #endSync(): void {
    const synced = this.#syncing;
    this.#syncing = [];
    this.#timer = null;
    for (const waiting of synced) this.#disk.write(waiting.batch);
    if (this.#gathering.length > 0) this.#startSync();
    for (const waiting of synced) waiting.done();
    if (this.#syncing.length === 0) this.#drained?.();
  }

  /** The log as given, at least up to `last`: reads see appends that are not synced yet. */
  #upTo(last: Index): readonly Entry[] {
    const unsynced = [...this.#syncing, ...this.#gathering].map((waiting) => waiting.batch);
    const firstChanged = Math.min(...unsynced.map((batch) => batch.entries[0]?.index ?? Infinity));
    if (last < firstChanged) return this.#disk.entries;
    const log = [...this.#disk.entries];
    for (const { entries } of unsynced) {
      const first = entries[0];
      if (first !== undefined) log.length = first.index - 1;
      log.push(...entries);
    }
    return log;
  }
}
