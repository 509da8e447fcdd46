// Reads the pages of a log and says which batches are in it, and whether what follows the last one
// is a batch that was torn by a crash (cut: nobody was promised it) or damage (rules W3, W4, W7).
// It writes nothing and knows no record; recovery, verify and dump stand on it.
//
//   sealed segment   | batch | batch | batch | void ...   ends where the next one's start says
//   newest segment   | batch | batch | torn? | zeros      ends where the tail rule says
//
// A batch proves that all before its `durable` place was synced. So:
// - before a proven place every page must be whole, in order and chained, or it is damage;
// - what lies between the proven end and the end of a sealed segment is void: a torn batch that
//   recovery cut, or one that it wrote again into the next segment;
// - in the newest segment the first place without a whole batch ends the log, if all that is there
//   are sectors never written and whole sectors of one unfinished batch. Anything else is damage.
// The first batch of a segment names the segment and page that it goes on from; segments that the
// newest does not lead back to are void. When the newest has not even its first batch, it is void
// itself, and the tail rule is asked of the one before.
import { assert } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import type { ClusterId } from "../base/ids.ts";
import type { Files } from "./files.ts";
import {
  batchTag,
  decodePage,
  formatVersion,
  pageBytes,
  type BatchHeader,
  type PageContent,
  type PagePlace,
  type ValidPage,
} from "./page.ts";
import { segmentIds, segmentName } from "./segment.ts";
import { WalError } from "./wal-error.ts";

export interface Batch {
  readonly header: BatchHeader;
  readonly records: Uint8Array;
  /** Chain before its first page. */
  readonly chainBefore: number;
}

export interface ScanResult {
  /** After the last whole batch. */
  readonly end: PagePlace;
  readonly tornPages: number;
  /** In the order of the log. */
  readonly segments: readonly number[];
  /** Files of segments that hold nothing that counts. */
  readonly voidSegments: readonly number[];
}

/** A page that must be whole and is not. */
export class DamageError extends WalError {
  readonly place: PagePlace;
  readonly reason: string;

  constructor(place: PagePlace, reason: string) {
    super(
      "corrupt",
      `the log is damaged in ${segmentName(place.segment)}, page ${place.page}: ${reason}`,
    );
    this.place = place;
    this.reason = reason;
  }
}

const chunkBytes = 256 * pageBytes;
const zeroChunk = new Uint8Array(chunkBytes);

/** The pages of one segment file, read in chunks. */
class SegmentPages {
  readonly id: number;
  readonly pageCount: number;
  readonly #files: Files;
  readonly #file: number;
  readonly #chunk: Uint8Array;
  #chunkStart = -1;

  constructor(files: Files, directory: string, id: number) {
    this.id = id;
    this.#files = files;
    this.#file = files.open(`${directory}/${segmentName(id)}`, "existing");
    const size = files.size(this.#file);
    this.pageCount = Math.floor(size / pageBytes);
    this.#chunk = new Uint8Array(Math.min(chunkBytes, this.pageCount * pageBytes));
    if (size % pageBytes !== 0) {
      this.close();
      throw new DamageError({ segment: id, page: this.pageCount }, "the file ends within a page");
    }
  }

  close(): void {
    this.#files.close(this.#file);
  }

  page(number: number): PageContent {
    if (number >= this.pageCount) {
      return { state: "damaged", reason: "the file ends before this page" };
    }
    this.#load(number);
    return decodePage(this.#chunk, (number % 256) * pageBytes);
  }

  /** The first page from `number` on that may hold something; skips zeros a chunk at a time. */
  skipZeros(number: number): number {
    let at = number;
    while (at < this.pageCount && at % 256 === 0) {
      const count = this.#load(at);
      if (Buffer.compare(this.#chunk.subarray(0, count), zeroChunk.subarray(0, count)) !== 0) break;
      at += count / pageBytes;
    }
    return at;
  }

  #load(number: number): number {
    const start = number - (number % 256);
    const count = Math.min(chunkBytes, (this.pageCount - start) * pageBytes);
    if (start === this.#chunkStart) return count;
    const read = this.#files.read(this.#file, this.#chunk.subarray(0, count), start * pageBytes);
    assert(read === count, "a segment became shorter while it was read");
    this.#chunkStart = start;
    return count;
  }
}

/** Calls `visit` with every batch of the log, in order. Throws DamageError. */
export function scanLog(
  files: Files,
  directory: string,
  cluster: ClusterId,
  visit: (batch: Batch) => void,
): ScanResult {
  const ids = segmentIds(files.list(directory) ?? []);
  const links = findLinks(files, directory, ids);
  const scan = new Scan(cluster, visit);
  for (const [i, link] of links.log.entries()) {
    const next = links.log[i + 1];
    withPages(files, directory, link.id, (pages) => {
      if (next === undefined) scan.newestSegment(pages, links.proven);
      else scan.sealedSegment(pages, next.durable.page);
    });
  }
  const { begun } = links;
  if (begun !== null) withPages(files, directory, begun, (pages) => scan.voidSegment(pages));
  const segments = links.log.map((link) => link.id);
  return {
    ...scan.result(),
    segments,
    voidSegments: ids.filter((id) => !segments.includes(id)),
  };
}

interface SegmentLink {
  readonly id: number;
  /** Where the log goes on from. */
  readonly durable: PagePlace;
}

interface Links {
  /** Segments of the log, oldest first. */
  readonly log: readonly SegmentLink[];
  /** Pages of the last of them that are proven to be synced. */
  readonly proven: number;
  /** A newer segment whose first batch is not whole. */
  readonly begun: number | null;
}

/** Finds the segments that make up the log, from the newest back. */
function findLinks(files: Files, directory: string, ids: readonly number[]): Links {
  const startOf = (id: number): SegmentStart =>
    withPages(files, directory, id, (pages) => segmentStart(pages));
  const newest = ids.at(-1);
  if (newest === undefined) return { log: [], proven: 0, begun: null };
  const newestStart = startOf(newest);
  const before = ids.at(-2);
  const begun = newestStart.isWhole ? null : newest;
  let id = begun === null ? newest : before;
  if (id === undefined) {
    throw new DamageError({ segment: newest, page: 0 }, "the log's first batch is not whole");
  }
  const proven =
    begun !== null && newestStart.first?.durable.segment === id
      ? newestStart.first.durable.page
      : 0;
  const oldest = startOf(id).first?.oldestSegment ?? 0;
  const log: SegmentLink[] = [];
  do {
    if (!ids.includes(id)) throw new DamageError({ segment: id, page: 0 }, "the file is missing");
    const { isWhole, first } = startOf(id);
    if (!isWhole || first === null || first.durable.segment >= id) {
      throw new DamageError({ segment: id, page: 0 }, "its first batch is not whole");
    }
    log.unshift({ id, durable: first.durable });
    id = first.durable.segment;
  } while (id >= oldest);
  return { log, proven, begun };
}

interface SegmentStart {
  /** The first batch is all there. */
  readonly isWhole: boolean;
  /** Header of the first page that can be read. */
  readonly first: BatchHeader | null;
}

function segmentStart(pages: SegmentPages): SegmentStart {
  const first = firstValidPage(pages);
  if (first === null) return { isWhole: false, first: null };
  let isWhole = first.page === 0;
  for (let page = 1; page < first.header.pageCount && isWhole; page++) {
    isWhole = pages.page(page).state === "valid";
  }
  return { isWhole, first: first.header };
}

function withPages<T>(
  files: Files,
  directory: string,
  id: number,
  use: (pages: SegmentPages) => T,
): T {
  const pages = new SegmentPages(files, directory, id);
  try {
    return use(pages);
  } finally {
    pages.close();
  }
}

function firstValidPage(pages: SegmentPages): ValidPage | null {
  for (let at = pages.skipZeros(0); at < pages.pageCount; at = pages.skipZeros(at + 1)) {
    const page = pages.page(at);
    if (page.state === "valid") return page;
  }
  return null;
}

/** The walk: what it has seen so far, and the rules for what may come next. */
class Scan {
  readonly #cluster: ClusterId;
  readonly #visit: (batch: Batch) => void;
  #end: PagePlace = { segment: 0, page: 0 };
  /** CRC of the last page of the log; null before the first. */
  #chain: number | null = null;
  #lastBatch = 0;
  #tornPages = 0;

  constructor(cluster: ClusterId, visit: (batch: Batch) => void) {
    this.#cluster = cluster;
    this.#visit = visit;
  }

  result(): { end: PagePlace; tornPages: number } {
    return { end: this.#end, tornPages: this.#tornPages };
  }

  /** A segment that a later one follows: whole up to `end`. */
  sealedSegment(pages: SegmentPages, end: number): void {
    for (let at = 0; at < end;) {
      const found = this.#batchAt(pages, at);
      if (found.broken !== null) throw found.broken;
      at = this.#accept(found.batch);
      if (at > end) throw new DamageError({ segment: pages.id, page: end }, "a batch is cut short");
    }
    this.#end = { segment: pages.id, page: end };
  }

  /**
   * The segment that the log ends in. All before page `proven` is known to have been synced; so is
   * its first batch, for there is a later one or a later segment.
   */
  newestSegment(pages: SegmentPages, proven: number): void {
    let at = 0;
    while (at < pages.pageCount) {
      const found = this.#batchAt(pages, at);
      if (found.broken !== null) {
        if (at < Math.max(proven, 1)) throw found.broken;
        this.#cutTail(pages, at, [this.#lastBatch + 1]);
        return;
      }
      at = this.#accept(found.batch);
      this.#end = { segment: pages.id, page: at };
    }
  }

  /** The newest segment without a whole batch: after a normal roll, or after a start (+ 2). */
  voidSegment(pages: SegmentPages): void {
    this.#cutTail(pages, 0, [this.#lastBatch + 1, this.#lastBatch + 2]);
  }

  #accept(batch: Batch): number {
    const { header } = batch;
    this.#lastBatch = header.batch;
    this.#visit(batch);
    return header.firstPage + header.pageCount;
  }

  #batchAt(
    pages: SegmentPages,
    at: number,
  ): { batch: Batch; broken: null } | { broken: DamageError } {
    const first = pages.page(at);
    const place = { segment: pages.id, page: at };
    if (first.state !== "valid") return { broken: brokenPage(place, first) };
    this.#checkFirst(place, first, pages.pageCount);
    const { header } = first;
    const chainBefore = first.chain;
    const parts = [first.records];
    let chain = first.crc;
    for (let page = at + 1; page < at + header.pageCount; page++) {
      const next = pages.page(page);
      const nextPlace = { segment: pages.id, page };
      if (next.state !== "valid") return { broken: brokenPage(nextPlace, next) };
      checkVersion(nextPlace, next);
      const same = next.page === page && next.header.segment === pages.id;
      if (!same || next.header.batch !== header.batch || next.chain !== chain) {
        throw new DamageError(nextPlace, "the page belongs elsewhere");
      }
      chain = next.crc;
      parts.push(next.records);
    }
    this.#chain = chain;
    return { batch: { header, records: concatBytes(parts), chainBefore }, broken: null };
  }

  /** A valid page that begins a batch: is it this place's? */
  #checkFirst(place: PagePlace, first: ValidPage, pageCount: number): void {
    const { header } = first;
    checkVersion(place, first);
    const damaged = (reason: string): DamageError => new DamageError(place, reason);
    if (header.cluster !== this.#cluster) throw damaged("the page is of another cluster");
    if (header.segment !== place.segment || first.page !== place.page) {
      throw damaged(`the page is ${segmentName(header.segment)}'s page ${first.page}`);
    }
    if (header.firstPage !== place.page || header.pageCount < 1) {
      throw damaged("a batch begins in its middle");
    }
    if (place.page + header.pageCount > pageCount) throw damaged("a batch exceeds its segment");
    if (this.#chain !== null && first.chain !== this.#chain) {
      throw damaged("the page does not follow the page before it");
    }
    const follows =
      place.page > 0 ? header.batch === this.#lastBatch + 1 : header.batch > this.#lastBatch;
    if (!follows) throw damaged(`batch ${header.batch} follows batch ${this.#lastBatch}`);
    const { durable } = header;
    const end = place.page > 0 || this.#chain === null ? place : this.#end;
    const isDurable =
      this.#chain === null || (durable.segment === end.segment && durable.page === end.page);
    if (!isDurable) throw damaged("the page does not name the log's end before it");
  }

  /** The tail rule (W7): cuts one torn batch that begins at `at`, or throws. */
  #cutTail(pages: SegmentPages, at: number, batches: readonly number[]): void {
    const place = { segment: pages.id, page: at };
    const tags = batches.map(batchTag);
    let pagesMax = Infinity;
    let end = at;
    for (let page = pages.skipZeros(at); page < pages.pageCount; page = pages.skipZeros(page + 1)) {
      const content = pages.page(page);
      if (content.state === "empty") continue;
      if (content.state === "damaged") {
        throw new DamageError({ segment: pages.id, page }, content.reason);
      }
      if (content.state === "valid") {
        const { header } = content;
        checkVersion({ segment: pages.id, page }, content);
        const isPart =
          content.page === page && header.segment === pages.id && header.firstPage === at;
        if (!isPart || !batches.includes(header.batch)) {
          throw new DamageError(place, `a batch is missing; page ${page} was written after it`);
        }
        pagesMax = header.pageCount;
      } else if (!tags.includes(content.tag)) {
        throw new DamageError(place, `a batch is missing; page ${page} was written after it`);
      }
      end = page + 1;
    }
    if (end > at + pagesMax) throw new DamageError(place, "a torn batch exceeds its pages");
    this.#tornPages += end - at;
  }
}

function checkVersion(place: PagePlace, page: ValidPage): void {
  if (page.version === formatVersion) return;
  throw new WalError(
    "format",
    `${segmentName(place.segment)}, page ${place.page}, has log format ${page.version}; ` +
      `this Keelson reads ${formatVersion}: start the version that wrote it`,
  );
}

function brokenPage(place: PagePlace, content: Exclude<PageContent, ValidPage>): DamageError {
  switch (content.state) {
    case "empty":
      return new DamageError(place, "the page was never written");
    case "torn":
      return new DamageError(place, "parts of the page were never written");
    case "damaged":
      return new DamageError(place, content.reason);
  }
}
