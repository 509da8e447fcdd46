// Reads entries back from the segments, for followers that are behind and for replay after a start.
// Every page is checked as recovery checks it: an entry that does not read back is damage and never
// "no such entry" (fault D6). It opens what it needs and closes it: reads are rare, for consensus
// keeps the newest entries in memory.
import { assert } from "../base/assert.ts";
import { concatBytes, emptyBytes } from "../base/bytes.ts";
import type { Index } from "../base/ids.ts";
import type { EntryMap } from "./entry-map.ts";
import type { Files } from "./files.ts";
import { decodePage, pageBytes, pageRoom } from "./page.ts";
import { recordBytes, recordHeaderBytes } from "./record.ts";
import { DamageError } from "./scan.ts";
import { segmentName } from "./segment.ts";

export interface ReadRequest {
  readonly directory: string;
  readonly map: EntryMap;
  readonly first: Index;
  readonly last: Index;
  readonly bytesMax: number;
}

/**
 * The records of entries first..last or their beginning: at least one, and no more than bytesMax of
 * encoded entries otherwise.
 */
export function readRecords(files: Files, request: ReadRequest): Uint8Array {
  const { directory, map, first, last, bytesMax } = request;
  assert(first <= last, "a read of no entries");
  const records: Uint8Array[] = [];
  let reader: RecordReader | null = null;
  let bytes = 0;
  try {
    for (let index = first; index <= last; index++) {
      const place = map.get(index);
      if (reader?.segment !== place.segment) {
        reader?.close();
        reader = new RecordReader(files, directory, place.segment);
      }
      const record = reader.record(place.offset);
      bytes += record.length - recordHeaderBytes;
      if (records.length > 0 && bytes > bytesMax) break;
      records.push(record);
    }
  } finally {
    reader?.close();
  }
  return concatBytes(records);
}

const windowPages = 32;

/** The records of one segment, read through a window of pages. */
class RecordReader {
  readonly segment: number;
  readonly #files: Files;
  readonly #file: number;
  readonly #pages = new Uint8Array(windowPages * pageBytes);
  #windowStart = 0;
  #windowEnd = 0;
  /** The page decoded last: most records share one with their neighbours. */
  #current = -1;
  #currentRecords: Uint8Array = emptyBytes;

  constructor(files: Files, directory: string, segment: number) {
    this.segment = segment;
    this.#files = files;
    this.#file = files.open(`${directory}/${segmentName(segment)}`, "existing");
  }

  close(): void {
    this.#files.close(this.#file);
  }

  /** A copy of the record at `offset`. */
  record(offset: number): Uint8Array {
    const header = new Uint8Array(recordHeaderBytes);
    this.#copy(offset, header);
    const record = new Uint8Array(recordBytes(header));
    this.#copy(offset, record);
    return record;
  }

  #copy(offset: number, target: Uint8Array): void {
    let done = 0;
    while (done < target.length) {
      const at = offset + done;
      const records = this.#page(Math.floor(at / pageRoom));
      const part = records.subarray(at % pageRoom, (at % pageRoom) + target.length - done);
      if (part.length === 0) this.#damaged(Math.floor(at / pageRoom), "a record is cut");
      target.set(part, done);
      done += part.length;
    }
  }

  #page(page: number): Uint8Array {
    if (page === this.#current) return this.#currentRecords;
    if (page < this.#windowStart || page >= this.#windowEnd) {
      const count = this.#files.read(this.#file, this.#pages, page * pageBytes);
      this.#windowStart = page;
      this.#windowEnd = page + Math.floor(count / pageBytes);
      if (page >= this.#windowEnd) this.#damaged(page, "the file ends before this page");
    }
    const content = decodePage(this.#pages, (page - this.#windowStart) * pageBytes);
    if (content.state !== "valid") return this.#damaged(page, "the page does not read back");
    if (content.page !== page || content.header.segment !== this.segment) {
      return this.#damaged(page, "the page belongs elsewhere");
    }
    this.#current = page;
    this.#currentRecords = content.records;
    return content.records;
  }

  #damaged(page: number, reason: string): never {
    throw new DamageError({ segment: this.segment, page }, reason);
  }
}
