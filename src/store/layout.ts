// Keys of the store's own rows, and the envelope around every row.
//
//   applied   'A'                        the point up to which the rows are the result of the log
//   journal   'J' batch number (8)       one per batch: what it applied, chained by CRC
//   format    'V'                        version of this layout
//
// The state machine names its rows by other first bytes, each declared when the store is opened.
// Every row in the backend, these included, is enveloped: value = CRC-32 (4 bytes) payload, the
// CRC over key and payload. Integers are big-endian.
import { crc32 } from "node:zlib";
import type { Index } from "../base/ids.ts";
import type { KeyRange } from "./backend.ts";
import type { Applied } from "./state-store.ts";

export const appliedPrefix = 0x41; // A
export const journalPrefix = 0x4a; // J
export const formatPrefix = 0x56; // V

export const formatVersion = 1;

export const appliedKey: Uint8Array = Uint8Array.of(appliedPrefix);
export const formatKey: Uint8Array = Uint8Array.of(formatPrefix);

export function journalKey(batch: number): Uint8Array {
  const key = Buffer.alloc(9);
  key[0] = journalPrefix;
  key.writeBigUInt64BE(BigInt(batch), 1);
  return key;
}

/** All rows whose key starts with this byte. */
export function prefixRange(prefix: number): KeyRange {
  return { first: Uint8Array.of(prefix), end: Uint8Array.of(prefix + 1) };
}

export const envelopeBytes = 4;

/** The payload in an enveloped value; undefined: damaged. Shares its memory. */
export function openEnvelope(key: Uint8Array, value: Uint8Array): Uint8Array | undefined {
  if (value.length < envelopeBytes) return undefined;
  const payload = value.subarray(envelopeBytes);
  return envelopeCrc(value) === rowCrc(key, payload) ? payload : undefined;
}

export function rowCrc(key: Uint8Array, payload: Uint8Array): number {
  return crc32(payload, crc32(key));
}

/** The CRC that an enveloped value carries. */
export function envelopeCrc(value: Uint8Array): number {
  return (
    (((value[0] as number) << 24) |
      ((value[1] as number) << 16) |
      ((value[2] as number) << 8) |
      (value[3] as number)) >>>
    0
  );
}

/** An enveloped row of its own memory; batches use RowPacker. */
export function envelope(key: Uint8Array, payload: Uint8Array): Uint8Array {
  const value = Buffer.allocUnsafe(envelopeBytes + payload.length);
  value.writeUInt32BE(rowCrc(key, payload), 0);
  value.set(payload, envelopeBytes);
  return value;
}

/** What a batch did (L2). Rows of consecutive batches are contiguous in every field. */
export interface JournalRow {
  /** Indexes applied: first..last; first = last + 1 when it applied none. */
  readonly first: Index;
  readonly last: Index;
  /** Bytes of the batch. */
  readonly bytes: number;
  /** Chain of the batch before; 0 before the first. */
  readonly chainBefore: number;
  /** CRC over `chainBefore` and the batch's rows. */
  readonly chain: number;
}

export function encodeJournalRow(row: JournalRow): Uint8Array {
  const bytes = Buffer.allocUnsafe(28);
  bytes.writeBigUInt64BE(BigInt(row.first), 0);
  bytes.writeBigUInt64BE(BigInt(row.last), 8);
  bytes.writeUInt32BE(row.bytes, 16);
  bytes.writeUInt32BE(row.chainBefore, 20);
  bytes.writeUInt32BE(row.chain, 24);
  return bytes;
}

export function decodeJournalRow(payload: Uint8Array): JournalRow {
  const bytes = bufferOver(payload);
  return {
    first: Number(bytes.readBigUInt64BE(0)),
    last: Number(bytes.readBigUInt64BE(8)),
    bytes: bytes.readUInt32BE(16),
    chainBefore: bytes.readUInt32BE(20),
    chain: bytes.readUInt32BE(24),
  };
}

/** Count and sum of CRCs of the rows that nothing else proves; modulo 2^32. */
export interface RowSum {
  readonly count: number;
  readonly sum: number;
}

/** The applied record with what the store keeps beside it. */
export interface AppliedRecord {
  readonly applied: Applied;
  /** The newest batch, and the oldest whose journal row is kept; numbered from 1. */
  readonly batch: number;
  readonly batchFirst: number;
  readonly chain: number;
  readonly summed: RowSum;
}

export function encodeAppliedRecord(record: AppliedRecord): Uint8Array {
  const { applied, summed } = record;
  const bytes = Buffer.allocUnsafe(76);
  bytes.writeBigUInt64BE(BigInt(applied.index), 0);
  bytes.writeBigUInt64BE(BigInt(applied.term), 8);
  bytes.writeBigUInt64BE(BigInt(applied.revision), 16);
  bytes.writeBigInt64BE(BigInt(applied.compactRevision), 24);
  bytes.writeBigUInt64BE(BigInt(applied.keyCount), 32);
  bytes.write(applied.digest, 40, 8, "hex");
  bytes.writeBigUInt64BE(BigInt(record.batch), 48);
  bytes.writeBigUInt64BE(BigInt(record.batchFirst), 56);
  bytes.writeUInt32BE(record.chain, 64);
  bytes.writeUInt32BE(summed.count, 68);
  bytes.writeUInt32BE(summed.sum, 72);
  return bytes;
}

export function decodeAppliedRecord(payload: Uint8Array): AppliedRecord {
  const bytes = bufferOver(payload);
  const applied: Applied = {
    index: Number(bytes.readBigUInt64BE(0)),
    term: Number(bytes.readBigUInt64BE(8)),
    revision: Number(bytes.readBigUInt64BE(16)),
    compactRevision: Number(bytes.readBigInt64BE(24)),
    keyCount: Number(bytes.readBigUInt64BE(32)),
    digest: bytes.toString("hex", 40, 48),
  };
  return {
    applied,
    batch: Number(bytes.readBigUInt64BE(48)),
    batchFirst: Number(bytes.readBigUInt64BE(56)),
    chain: bytes.readUInt32BE(64),
    summed: { count: bytes.readUInt32BE(68), sum: bytes.readUInt32BE(72) },
  };
}

/** The store before the first entry. */
export const emptyRecord: AppliedRecord = {
  applied: {
    index: 0,
    term: 0,
    revision: 1,
    compactRevision: -1,
    keyCount: 0,
    digest: "0000000000000000",
  },
  batch: 0,
  batchFirst: 1,
  chain: 0,
  summed: { count: 0, sum: 0 },
};

export function bufferOver(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
