// The log's synchronous body: one batch is one write and one fdatasync into the newest segment. It
// runs in the worker thread, and in-thread under tests and the simulator; it only knows Files.
//
// - Strictly serial (W4): append returns when the batch is synced; nothing is written before.
// - No synced byte is ever overwritten (W3): each batch starts on a fresh page.
// - A full segment is left for a prepared one, whose first batch opens with a checkpoint (W5) and
//   says where the log ended before. Then the old segment is cut to the pages that count.
// - After an error nothing is written or synced any more (W9): the instance is poisoned, the process
//   ends, and the next start writes again what it cannot prove to be on disk.
//
// Crash between any two calls: before the batch's sync, the batch is whole or torn and recovery
// says which; after it, it is there. A roll adds: a prepared file renamed and not yet written is a
// void segment, which recovery removes.
import { assert } from "../base/assert.ts";
import type { Index } from "../base/ids.ts";
import type { Files } from "./files.ts";
import type { Identity } from "./log.ts";
import type { LogState } from "./log-state.ts";
import { encodePages, pageBytes, pagesFor, type PagePlace } from "./page.ts";
import { readRecords } from "./reader.ts";
import { RecordBuffer } from "./record.ts";
import {
  isDiskFull,
  preparedName,
  preparedWanted,
  prepareNow,
  segmentName,
  type Preparation,
} from "./segment.ts";

/** Pages of batches up to this size, which is about what gathers (wal-body.ts), are made in memory
 * that is kept: freed, it would wait for this thread's collector, which little else wakes. */
const pagesKeptBytes = 9 * 1024 * 1024;

export interface WriterStart {
  readonly directory: string;
  readonly segmentBytes: number;
  readonly state: LogState;
  /** This start's. */
  readonly identity: Identity;
  /** Where the log ends, as far as it is proven to be on disk. */
  readonly end: PagePlace;
  /** The next segment's id is one more. */
  readonly newestSegment: number;
  /** CRC of the last page before `end`. */
  readonly chain: number;
  /** Number of the next batch. */
  readonly batch: number;
  /** Numbers of the prepared files. */
  readonly prepared: readonly number[];
}

export class WalWriter {
  readonly #files: Files;
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #state: LogState;
  readonly #identity: Identity;
  readonly #prepared: string[];
  /** Each prepared file has a number of its own, also those that are still being made. */
  #preparedNext: number;
  #end: PagePlace;
  #newestSegment: number;
  #chain: number;
  #batch: number;
  /** The newest segment; null until the first batch after a start, which opens one. */
  #file: number | null = null;
  #pageCount = 0;
  #poisoned = false;
  /** Grows to the largest batch so far. */
  #memory = new Uint8Array(0);

  constructor(files: Files, start: WriterStart) {
    this.#files = files;
    this.#directory = start.directory;
    this.#segmentBytes = start.segmentBytes;
    this.#state = start.state;
    this.#identity = start.identity;
    this.#prepared = start.prepared.map(preparedName);
    this.#preparedNext = Math.max(0, ...start.prepared) + 1;
    this.#end = start.end;
    this.#newestSegment = start.newestSegment;
    this.#chain = start.chain;
    this.#batch = start.batch;
  }

  state(): LogState {
    return this.#state;
  }

  /** Writes one batch, durably. Any error leaves the writer poisoned. */
  append(records: readonly Uint8Array[]): void {
    assert(!this.#poisoned, "append after a failed write or sync");
    this.#poisoned = true;
    const bytes = records.reduce((sum, part) => sum + part.length, 0);
    if (this.#file === null || this.#end.page + pagesFor(bytes) > this.#pageCount) {
      this.#roll(records, bytes);
    } else {
      this.#write(this.#file, records, this.#end);
    }
    this.#poisoned = false;
  }

  /** Records of entries first..last or their beginning, as readRecords. */
  read(first: Index, last: Index, bytesMax: number): Uint8Array {
    return readRecords(this.#files, {
      directory: this.#directory,
      map: this.#state.entries,
      first,
      last,
      bytesMax,
    });
  }

  /** Prepared segments that should be made now, and are not there. */
  preparedMissing(): number {
    return preparedWanted - this.#prepared.length;
  }

  /** What to make for one of them; addPrepared when it is there. */
  nextPreparation(): Preparation {
    const name = preparedName(this.#preparedNext++);
    return { directory: this.#directory, name, bytes: this.#segmentBytes };
  }

  addPrepared(name: string): void {
    this.#prepared.push(name);
  }

  close(): void {
    if (this.#file !== null) this.#files.close(this.#file);
    this.#file = null;
    this.#poisoned = true;
  }

  #write(file: number, records: readonly Uint8Array[], place: PagePlace): void {
    const bytes = records.reduce((sum, part) => sum + part.length, 0);
    const pageCount = pagesFor(bytes);
    assert(place.page + pageCount <= this.#pageCount, "a batch exceeds its segment");
    const header = {
      cluster: this.#identity.cluster,
      segment: place.segment,
      batch: this.#batch,
      firstPage: place.page,
      pageCount,
      durableIndex: this.#state.lastIndex(),
      durable: this.#end,
      oldestSegment: 1,
    };
    const memory = this.#pageMemory(pageCount * pageBytes);
    const { pages, chain } = encodePages(header, records, this.#chain, memory);
    this.#files.write(file, pages, place.page * pageBytes);
    this.#files.sync(file);
    let start = 0;
    for (const part of records) {
      this.#state.apply(part, place, start);
      start += part.length;
    }
    this.#end = { segment: place.segment, page: place.page + pageCount };
    this.#chain = chain;
    this.#batch++;
  }

  #pageMemory(bytes: number): Uint8Array {
    if (bytes <= pagesKeptBytes && bytes > this.#memory.length) {
      this.#memory = new Uint8Array(Math.min(pagesKeptBytes, 2 * bytes));
    }
    return this.#memory;
  }

  /** Goes on in a new segment, with `records` in its first batch. */
  #roll(records: readonly Uint8Array[], bytes: number): void {
    const checkpoint = new RecordBuffer();
    checkpoint.addCheckpoint(this.#state.checkpoint(this.#identity));
    const first = checkpoint.take();
    const before = { file: this.#file, end: this.#end };
    const segment = ++this.#newestSegment;
    const file = this.#openSegment(segment, pagesFor(bytes + first.length));
    this.#file = file;
    this.#pageCount = Math.floor(this.#files.size(file) / pageBytes);
    this.#write(file, [first, ...records], { segment, page: 0 });
    this.#seal(before.file, before.end);
  }

  /** A prepared file under the segment's name, durably so, before its first byte is written. */
  #openSegment(id: number, pagesNeeded: number): number {
    const files = this.#files;
    const path = `${this.#directory}/${segmentName(id)}`;
    const isLarge = pagesNeeded * pageBytes > this.#segmentBytes;
    if (isLarge || this.#prepared.length === 0) {
      const preparation = this.nextPreparation();
      const bytes = Math.max(preparation.bytes, pagesNeeded * pageBytes);
      this.#prepareNow({ ...preparation, bytes });
      this.#prepared.unshift(preparation.name);
    }
    const name = this.#prepared.shift();
    assert(name !== undefined, "no prepared segment");
    files.rename(`${this.#directory}/${name}`, path);
    files.syncDirectory(this.#directory);
    return files.open(path, "existing");
  }

  #prepareNow(preparation: Preparation): void {
    try {
      prepareNow(this.#files, preparation);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      throw new Error(
        `no space is left for a log segment of ${preparation.bytes} bytes in ${this.#directory}, ` +
          "and no spare segment: free space and start again; nothing acknowledged is lost",
        { cause: error },
      );
    }
  }

  /** Gives back what the log does not use of a segment that it left. */
  #seal(open: number | null, end: PagePlace): void {
    if (end.segment === 0) return;
    const file =
      open ?? this.#files.open(`${this.#directory}/${segmentName(end.segment)}`, "existing");
    this.#files.truncate(file, end.page * pageBytes);
    this.#files.close(file);
  }
}
