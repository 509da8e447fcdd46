// Records: what the log says, inside pages. A batch is a row of records without gaps; a record may
// run over pages, never over batches. Pages prove that the bytes are the ones written; a record's
// own CRC goes back further, to the moment when the main thread encoded it (fault D22).
//
//   0 CRC-32 of the rest u32 | 4 payload length u32 | 8 type u8 | 9 zero u8[3] | 12 payload
//
//   1 entry       raft/codec.ts
//   2 hard state  raft/codec.ts: term and vote from here on
//   3 truncate    index varint: entries from it on are gone (rule W6)
//   4 checkpoint  first record of every segment: all that the records before it amount to
//
// Varints are raft/codec-bytes.ts's. A type that is not in this table stops the reader: nothing
// is ever skipped.
import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import { varintBytes } from "../base/bytes.ts";
import type { ClusterId, Index, MemberId, StoreId } from "../base/ids.ts";
import type { Configuration, Entry, EntryId, HardState } from "../raft/entry.ts";
import {
  decodeConfiguration,
  decodeEntry,
  decodeHardState,
  DecodeError,
  encodeConfiguration,
  encodeHardState,
  entryBytes,
  writeEntry,
} from "../raft/codec.ts";
import { ByteReader, ByteWriter, memberIdBytes, varintBytesMax } from "../raft/codec-bytes.ts";
import type { Identity } from "./log.ts";

/** State of the log before a segment's first record. */
export interface Checkpoint {
  readonly identity: Identity;
  /** The entry before the log's first. */
  readonly base: EntryId;
  /** base.index when the log is empty. */
  readonly lastIndex: Index;
  readonly hardState: HardState;
  readonly configuration: Configuration;
}

export type WalRecord =
  | { readonly type: "entry"; readonly entry: Entry }
  | { readonly type: "hardState"; readonly hardState: HardState }
  | { readonly type: "truncate"; readonly from: Index }
  | { readonly type: "checkpoint"; readonly checkpoint: Checkpoint };

export const recordHeaderBytes = 12;
/** Longest payload that is believed; far above what limits on requests let through. */
const payloadBytesMax = 256 * 1024 * 1024;

const storeIdBytes = 16;

const types = { entry: 1, hardState: 2, truncate: 3, checkpoint: 4 } as const;

const recordBufferBytes = 4096;
/** Buffers kept for reuse, and the largest of them: some batches in flight, of usual size. */
const spareMax = 4;
const spareBytesMax = 1024 * 1024;

/** Gathers records into one buffer that can be given away. */
export class RecordBuffer {
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;
  /** What was taken before and came back. */
  readonly #spare: ArrayBuffer[] = [];

  constructor() {
    this.#bytes = new Uint8Array(recordBufferBytes);
  }

  length(): number {
    return this.#length;
  }

  addEntry(entry: Entry): void {
    const start = this.#open(types.entry, entryBytes(entry));
    const end = writeEntry(entry, this.#bytes, start + recordHeaderBytes);
    assert(end === this.#length, "an entry's encoding is not as long as announced");
    this.#seal(start);
  }

  addHardState(hardState: HardState): void {
    this.#add(types.hardState, encodeHardState(hardState));
  }

  addTruncate(from: Index): void {
    const payload = new Uint8Array(varintBytes(from));
    new ByteWriter(payload, 0).varint(from);
    this.#add(types.truncate, payload);
  }

  addCheckpoint(checkpoint: Checkpoint): void {
    this.#add(types.checkpoint, encodeCheckpoint(checkpoint));
  }

  /** What was gathered, now the caller's; this buffer starts again. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#bytes = new Uint8Array(this.#spare.pop() ?? new ArrayBuffer(recordBufferBytes));
    this.#length = 0;
    return taken;
  }

  /** Takes back memory whose records nobody needs any more. */
  reuse(memory: ArrayBuffer): void {
    if (this.#spare.length < spareMax && memory.byteLength <= spareBytesMax) {
      this.#spare.push(memory);
    }
  }

  #add(type: number, payload: Uint8Array): void {
    const start = this.#open(type, payload.length);
    this.#bytes.set(payload, start + recordHeaderBytes);
    this.#seal(start);
  }

  /** Makes room for a record and writes its header, but for the CRC. */
  #open(type: number, payloadBytes: number): number {
    assert(payloadBytes <= payloadBytesMax, "a record is too long");
    const start = this.#length;
    const end = start + recordHeaderBytes + payloadBytes;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, start));
      this.#bytes = grown;
    }
    const view = new DataView(this.#bytes.buffer, start);
    view.setUint32(4, payloadBytes, true);
    view.setUint32(8, type, true);
    this.#length = end;
    return start;
  }

  #seal(start: number): void {
    const crc = crc32(this.#bytes.subarray(start + 4, this.#length));
    new DataView(this.#bytes.buffer, start).setUint32(0, crc, true);
  }
}

/** Where a record stands in its batch. */
export interface RecordPlace {
  readonly type: WalRecord["type"];
  /** Offset of the record's header. */
  readonly start: number;
  /** Offset after its payload. */
  readonly end: number;
}

/** The records of a batch, unchecked but for their frames. Throws DecodeError. */
export function recordPlaces(batch: Uint8Array): RecordPlace[] {
  const places: RecordPlace[] = [];
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  let start = 0;
  while (start < batch.length) {
    if (start + recordHeaderBytes > batch.length) throw new DecodeError("a record's header is cut");
    const end = start + recordHeaderBytes + view.getUint32(start + 4, true);
    if (end > batch.length) throw new DecodeError("a record is cut");
    places.push({ type: typeOf(view.getUint32(start + 8, true)), start, end });
    start = end;
  }
  return places;
}

function typeOf(tag: number): WalRecord["type"] {
  switch (tag) {
    case types.entry:
      return "entry";
    case types.hardState:
      return "hardState";
    case types.truncate:
      return "truncate";
    case types.checkpoint:
      return "checkpoint";
    default:
      throw new DecodeError(`unknown type of record: ${tag}`);
  }
}

/** Bytes of the record whose header this is. */
export function recordBytes(header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  return recordHeaderBytes + view.getUint32(4, true);
}

/** One whole record. Its entry keeps a view of `bytes`. Throws DecodeError. */
export function decodeRecord(bytes: Uint8Array): WalRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < recordHeaderBytes || recordBytes(bytes) !== bytes.length) {
    throw new DecodeError("a record's length is wrong");
  }
  if (view.getUint32(0, true) !== crc32(bytes.subarray(4))) {
    throw new DecodeError("a record fails its CRC-32");
  }
  const payload = bytes.subarray(recordHeaderBytes);
  const type = typeOf(view.getUint32(8, true));
  switch (type) {
    case "entry":
      return { type, entry: decodeEntry(payload) };
    case "hardState":
      return { type, hardState: decodeHardState(payload) };
    case "truncate":
      return { type, from: decodeTruncate(payload) };
    case "checkpoint":
      return { type, checkpoint: decodeCheckpoint(payload) };
  }
}

/** Records that are all entries and follow `first`, as a read gives them. */
export function decodeEntries(records: Uint8Array, first: Index): Entry[] {
  return recordPlaces(records).map(({ start, end }, i) => {
    const record = decodeRecord(records.subarray(start, end));
    if (record.type !== "entry" || record.entry.index !== first + i) {
      throw new DecodeError(`what was read is not entry ${first + i}`);
    }
    return record.entry;
  });
}

function decodeTruncate(payload: Uint8Array): Index {
  const reader = new ByteReader(payload);
  const from = reader.varint();
  reader.expectEnd();
  return from;
}

// cluster 8, member 8, store 16, varints: start, base term, base index, last index, length of
// the hard state; hard state, configuration.
function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const hardState = encodeHardState(checkpoint.hardState);
  const configuration = encodeConfiguration(checkpoint.configuration);
  const { identity, base } = checkpoint;
  const fixedBytes = 2 * memberIdBytes + storeIdBytes + 5 * varintBytesMax;
  const bytes = new Uint8Array(fixedBytes + hardState.length + configuration.length);
  const writer = new ByteWriter(bytes, 0);
  writer.memberId(identity.cluster as string as MemberId);
  writer.memberId(identity.member);
  writer.raw(Buffer.from(identity.store, "hex"));
  writer.varint(identity.start);
  writer.varint(base.term);
  writer.varint(base.index);
  writer.varint(checkpoint.lastIndex);
  writer.varint(hardState.length);
  writer.raw(hardState);
  writer.raw(configuration);
  return bytes.subarray(0, writer.at());
}

function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const reader = new ByteReader(bytes);
  const identity: Identity = {
    cluster: reader.memberId() as string as ClusterId,
    member: reader.memberId(),
    store: Buffer.from(reader.raw(storeIdBytes)).toString("hex") as StoreId,
    start: reader.varint(),
  };
  const base = { term: reader.varint(), index: reader.varint() };
  const lastIndex = reader.varint();
  const hardState = decodeHardState(reader.raw(reader.varint()));
  const configuration = decodeConfiguration(bytes.subarray(reader.at()));
  return { identity, base, lastIndex, hardState, configuration };
}
