// One 4 kB page, the unit in which the log is written and checked. What is in its records is not
// looked at here, nor is its place among other pages: recovery.ts judges that.
//
// On disk a page is eight sectors of 512 bytes; each ends in a tag of four: the batch number's 16
// bits (never 0) and a CRC-16 of the 510 bytes before. A disk writes sectors whole, so a sector with
// an all-zero tag was never written, and a tagged one that fails its CRC is damage (rule W7). The
// other 8 * 508 bytes, in order, are the page's content:
//
//   0 magic u32 | 4 version u16 | 6 used u16 | 8 cluster u64 | 16 segment u64 | 24 page u32
//   28 first page of the batch u32 | 32 pages of the batch u32 | 36 chain u32 | 40 batch u64
//   48 durable index u64 | 56 durable segment u64 | 64 durable page u32 | 68 oldest segment u32
//   72 records, `used` bytes, then zeros | 4060 CRC-32 of content 0..4059
//
// Little-endian. "Durable" is what was known synced when the batch was written: everything before
// that page of that segment; in a segment's first batch that is where the log goes on from, in the
// segment before. So one valid page proves all earlier batches synced (rule W4).
import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import type { ClusterId, Index } from "../base/ids.ts";

export const pageBytes = 4096;
/** Bytes of records in one page. */
export const pageRoom = 3988;
export const formatVersion = 1;

const sectorBytes = 512;
const sectorContent = 508;
const sectorsPerPage = 8;
const contentBytes = sectorContent * sectorsPerPage;
const headerBytes = 72;
const crcAt = contentBytes - 4;
const magic = 0x4c57534b; // "KSWL"

export interface PagePlace {
  readonly segment: number;
  readonly page: number;
}

/** What all pages of one batch share. */
export interface BatchHeader {
  readonly cluster: ClusterId;
  readonly segment: number;
  readonly batch: number;
  readonly firstPage: number;
  readonly pageCount: number;
  readonly durableIndex: Index;
  /** Everything in the log before this place was synced when the batch was written. */
  readonly durable: PagePlace;
  /** Segments from this one on are needed; older ones may have been deleted. */
  readonly oldestSegment: number;
}

export interface ValidPage {
  readonly state: "valid";
  readonly header: BatchHeader;
  readonly page: number;
  readonly version: number;
  /** CRC-32 of the page before, in log order; 0 before the first. */
  readonly chain: number;
  readonly crc: number;
  readonly records: Uint8Array;
}

export type PageContent =
  | { readonly state: "empty" }
  | ValidPage
  // Some sectors never written, the others whole: `tag` is their batch's.
  | { readonly state: "torn"; readonly tag: number }
  | { readonly state: "damaged"; readonly reason: string };

/** The 16 bits of a batch number that stand in sector tags; never 0. */
export function batchTag(batch: number): number {
  return (batch % 0xffff) + 1;
}

const crc16Tables = makeCrc16Tables();

/** CRC-16/X-25 without its final inversion, four bytes a step. */
function makeCrc16Tables(): Uint16Array[] {
  const tables = [0, 1, 2, 3].map(() => new Uint16Array(256));
  const [first] = tables as [Uint16Array];
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0x8408 : crc >>> 1;
    first[byte] = crc;
  }
  for (let depth = 1; depth < 4; depth++) {
    const before = tables[depth - 1] as Uint16Array;
    const table = tables[depth] as Uint16Array;
    for (let byte = 0; byte < 256; byte++) {
      const crc = before[byte] as number;
      table[byte] = (crc >>> 8) ^ (first[crc & 0xff] as number);
    }
  }
  return tables;
}

/** CRC-16 of a sector's content and batch number: 510 bytes from `start`. */
function sectorCrc(bytes: Uint8Array, start: number): number {
  const [t0, t1, t2, t3] = crc16Tables as [Uint16Array, Uint16Array, Uint16Array, Uint16Array];
  let crc = 0xffff;
  let at = start;
  for (const end = start + sectorContent; at < end; at += 4) {
    const low = crc ^ ((bytes[at] as number) | ((bytes[at + 1] as number) << 8));
    crc =
      (t3[low & 0xff] as number) ^
      (t2[low >>> 8] as number) ^
      (t1[bytes[at + 2] as number] as number) ^
      (t0[bytes[at + 3] as number] as number);
  }
  for (const end = start + sectorContent + 2; at < end; at++) {
    crc = (crc >>> 8) ^ (t0[(crc ^ (bytes[at] as number)) & 0xff] as number);
  }
  return crc;
}

function setCounter(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
}

/** Not checked to be safe: pages are judged by their CRC first. */
function getCounter(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 0x100000000 + view.getUint32(at, true);
}

export function pagesFor(recordBytes: number): number {
  return Math.max(1, Math.ceil(recordBytes / pageRoom));
}

/** The pages of one batch, ready to be written in one piece, and the chain after them. They lie in
 * `memory` when there is enough of it, every byte written anew. */
export function encodePages(
  header: BatchHeader,
  records: readonly Uint8Array[],
  chainBefore: number,
  memory?: Uint8Array,
): { pages: Uint8Array; chain: number } {
  const bytes = header.pageCount * pageBytes;
  const isEnough = memory !== undefined && memory.length >= bytes;
  const pages = isEnough ? memory.subarray(0, bytes) : new Uint8Array(bytes);
  const content = new Uint8Array(contentBytes);
  const view = new DataView(content.buffer);
  writeHeader(view, header);
  const source = new Source(records);
  let chain = chainBefore;
  for (let i = 0; i < header.pageCount; i++) {
    const used = source.fill(content.subarray(headerBytes, crcAt));
    content.fill(0, headerBytes + used, crcAt);
    view.setUint16(6, used, true);
    view.setUint32(24, header.firstPage + i, true);
    view.setUint32(36, chain, true);
    chain = crc32(content.subarray(0, crcAt));
    view.setUint32(crcAt, chain, true);
    writeSectors(pages, i * pageBytes, content, batchTag(header.batch));
  }
  assert(source.isEmpty(), "the records of a batch do not fit its pages");
  return { pages, chain };
}

function writeHeader(view: DataView, header: BatchHeader): void {
  view.setUint32(0, magic, true);
  view.setUint16(4, formatVersion, true);
  view.setBigUint64(8, BigInt(header.cluster), true);
  setCounter(view, 16, header.segment);
  view.setUint32(28, header.firstPage, true);
  view.setUint32(32, header.pageCount, true);
  setCounter(view, 40, header.batch);
  setCounter(view, 48, header.durableIndex);
  setCounter(view, 56, header.durable.segment);
  view.setUint32(64, header.durable.page, true);
  view.setUint32(68, header.oldestSegment, true);
}

function writeSectors(pages: Uint8Array, start: number, content: Uint8Array, tag: number): void {
  for (let sector = 0; sector < sectorsPerPage; sector++) {
    const at = start + sector * sectorBytes;
    pages.set(content.subarray(sector * sectorContent, (sector + 1) * sectorContent), at);
    pages[at + sectorContent] = tag & 0xff;
    pages[at + sectorContent + 1] = tag >>> 8;
    const crc = sectorCrc(pages, at);
    pages[at + sectorContent + 2] = crc & 0xff;
    pages[at + sectorContent + 3] = crc >>> 8;
  }
}

/** Byte strings read as one. */
class Source {
  readonly #parts: readonly Uint8Array[];
  #part = 0;
  #at = 0;

  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts;
  }

  fill(target: Uint8Array): number {
    let done = 0;
    while (done < target.length) {
      const part = this.#parts[this.#part];
      if (part === undefined) break;
      const count = Math.min(part.length - this.#at, target.length - done);
      target.set(part.subarray(this.#at, this.#at + count), done);
      done += count;
      this.#at += count;
      if (this.#at === part.length) {
        this.#part++;
        this.#at = 0;
      }
    }
    return done;
  }

  isEmpty(): boolean {
    return this.#part === this.#parts.length;
  }
}

/** Reads the page at `start`; a valid page's records are copied out. */
export function decodePage(bytes: Uint8Array, start: number): PageContent {
  const page = bytes.subarray(start, start + pageBytes);
  assert(page.length === pageBytes, "less than a page to decode");
  let tag = 0;
  let tagged = 0;
  for (let sector = 0; sector < sectorsPerPage; sector++) {
    const at = sector * sectorBytes;
    const tagAt = at + sectorContent;
    const batch = (page[tagAt] as number) | ((page[tagAt + 1] as number) << 8);
    const crc = (page[tagAt + 2] as number) | ((page[tagAt + 3] as number) << 8);
    if (batch === 0 && crc === 0) {
      if (isZero(page, at, tagAt)) continue;
      return { state: "damaged", reason: `sector ${sector} has bytes but no tag` };
    }
    if (crc !== sectorCrc(page, at)) {
      return { state: "damaged", reason: `sector ${sector} fails its CRC-16` };
    }
    if (batch === 0 || (tagged > 0 && batch !== tag)) {
      return { state: "damaged", reason: `sector ${sector} has the tag of another batch` };
    }
    tag = batch;
    tagged++;
  }
  if (tagged === 0) return { state: "empty" };
  return tagged < sectorsPerPage ? { state: "torn", tag } : decodeContent(page, tag);
}

function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}

function decodeContent(page: Uint8Array, tag: number): PageContent {
  const content = new Uint8Array(contentBytes);
  for (let sector = 0; sector < sectorsPerPage; sector++) {
    const at = sector * sectorBytes;
    content.set(page.subarray(at, at + sectorContent), sector * sectorContent);
  }
  const view = new DataView(content.buffer);
  const crc = view.getUint32(crcAt, true);
  if (crc !== crc32(content.subarray(0, crcAt))) {
    return { state: "damaged", reason: "the page fails its CRC-32" };
  }
  if (view.getUint32(0, true) !== magic) return { state: "damaged", reason: "not a log page" };
  const used = view.getUint16(6, true);
  const batch = getCounter(view, 40);
  if (used > pageRoom || batchTag(batch) !== tag) {
    return { state: "damaged", reason: "the page's header contradicts itself" };
  }
  return {
    state: "valid",
    version: view.getUint16(4, true),
    page: view.getUint32(24, true),
    chain: view.getUint32(36, true),
    crc,
    records: content.subarray(headerBytes, headerBytes + used),
    header: {
      cluster: view.getBigUint64(8, true).toString() as ClusterId,
      segment: getCounter(view, 16),
      batch,
      firstPage: view.getUint32(28, true),
      pageCount: view.getUint32(32, true),
      durableIndex: getCounter(view, 48),
      durable: { segment: getCounter(view, 56), page: view.getUint32(64, true) },
      oldestSegment: view.getUint32(68, true),
    },
  };
}
