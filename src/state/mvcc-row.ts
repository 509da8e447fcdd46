// Rows of the key space in the store, and their binary form.
//
//   latest row    'K' user key                        mvccpb.KeyValue
//   history row   'H' revision (8 bytes) sub (4)      flags (1 byte) mvccpb.KeyValue
//   compaction    'C'                                 revision (8): history below it is removed
//
// Integers are big-endian, so that rows lie in the order of time. The KeyValue bytes are exactly
// those of the wire: answers and events can be built from them. Of a delete the KeyValue has only
// key and mod revision. Flags tell a delete, and the last row of its revision: with it a missing
// row anywhere in the history can be told from a short one.
//
// The coder is our own because it runs on every put; a property test holds it to the generated one.
import { assert } from "../base/assert.ts";
import { emptyBytes } from "../base/bytes.ts";
import type { LeaseId, Revision } from "../base/ids.ts";
import type { KeyValue } from "../proto/mvccpb/kv.ts";
import type { KeyMeta, RevisionRef } from "./key-index.ts";

export const latestRowPrefix = 0x4b; // K
export const historyRowPrefix = 0x48; // H
export const compactionRowPrefix = 0x43; // C

export const historyFlags = { delete: 1, last: 2 } as const;

const historyKeyBytes = 13;

export function latestRowKey(key: Uint8Array): Uint8Array {
  const rowKey = new Uint8Array(key.length + 1);
  rowKey[0] = latestRowPrefix;
  rowKey.set(key, 1);
  return rowKey;
}

export function historyRowKey(main: Revision, sub: number): Uint8Array {
  const rowKey = new Uint8Array(historyKeyBytes);
  rowKey[0] = historyRowPrefix;
  putUint32(rowKey, 1, Math.floor(main / 0x100000000));
  putUint32(rowKey, 5, main);
  putUint32(rowKey, 9, sub);
  return rowKey;
}

export function parseHistoryRowKey(rowKey: Uint8Array): RevisionRef {
  assert(rowKey.length === historyKeyBytes, "a history row key has 13 bytes");
  return {
    main: getUint32(rowKey, 1) * 0x100000000 + getUint32(rowKey, 5),
    sub: getUint32(rowKey, 9),
  };
}

export const compactionRowKey = new Uint8Array([compactionRowPrefix]);

export function encodeCompactionRow(revision: Revision): Uint8Array {
  const row = new Uint8Array(8);
  putUint32(row, 0, Math.floor(revision / 0x100000000));
  putUint32(row, 4, revision);
  return row;
}

export function decodeCompactionRow(row: Uint8Array): Revision {
  return getUint32(row, 0) * 0x100000000 + getUint32(row, 4);
}

function putUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

function getUint32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

const slabBytes = 64 * 1024;

/**
 * Writes history rows; the KeyValue of the latest row is the same bytes without the flags. Small
 * rows share slabs: an allocation of its own costs more than the row.
 */
export class RowEncoder {
  #slab = emptyBytes;
  #used = 0;

  put(key: Uint8Array, meta: KeyMeta, value: Uint8Array): Uint8Array {
    const lease = meta.lease === "0" ? emptyBytes : leaseVarint(meta.lease);
    const size =
      1 +
      (1 + varintBytes(key.length) + key.length) +
      (1 + varintBytes(meta.createRevision)) +
      (1 + varintBytes(meta.modRevision)) +
      (1 + varintBytes(meta.version)) +
      (value.length === 0 ? 0 : 1 + varintBytes(value.length) + value.length) +
      (lease.length === 0 ? 0 : 1 + lease.length);
    const row = this.#allocate(size);
    let at = 1;
    at = putBytes(row, at, 0x0a, key);
    at = putNumber(row, at, 0x10, meta.createRevision);
    at = putNumber(row, at, 0x18, meta.modRevision);
    at = putNumber(row, at, 0x20, meta.version);
    if (value.length !== 0) at = putBytes(row, at, 0x2a, value);
    if (lease.length !== 0) {
      row[at] = 0x30;
      row.set(lease, at + 1);
    }
    return row;
  }

  tombstone(key: Uint8Array, modRevision: Revision): Uint8Array {
    const size = 1 + (1 + varintBytes(key.length) + key.length) + (1 + varintBytes(modRevision));
    const row = this.#allocate(size);
    row[0] = historyFlags.delete;
    putNumber(row, putBytes(row, 1, 0x0a, key), 0x18, modRevision);
    return row;
  }

  #allocate(size: number): Uint8Array {
    if (size > slabBytes / 8) return new Uint8Array(size);
    if (this.#used + size > this.#slab.length) {
      this.#slab = new Uint8Array(slabBytes);
      this.#used = 0;
    }
    const row = this.#slab.subarray(this.#used, this.#used + size);
    this.#used += size;
    return row;
  }
}

function varintBytes(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

function putVarint(row: Uint8Array, from: number, value: number): number {
  let at = from;
  let rest = value;
  while (rest >= 0x80000000) {
    row[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  while (rest >= 0x80) {
    row[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  row[at++] = rest;
  return at;
}

function putNumber(row: Uint8Array, at: number, tag: number, value: number): number {
  row[at] = tag;
  return putVarint(row, at + 1, value);
}

function putBytes(row: Uint8Array, at: number, tag: number, bytes: Uint8Array): number {
  row[at] = tag;
  const start = putVarint(row, at + 1, bytes.length);
  row.set(bytes, start);
  return start + bytes.length;
}

function leaseVarint(lease: LeaseId): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(lease));
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

/** Of a checked row, from byte `start`. Key and value share its memory. */
export function decodeKeyValue(row: Uint8Array, start = 0): KeyValue {
  const decoded: KeyValue = {
    key: emptyBytes,
    createRevision: 0,
    modRevision: 0,
    version: 0,
    value: emptyBytes,
    lease: "0",
  };
  const cursor = { at: start };
  while (cursor.at < row.length) {
    const tag = row[cursor.at++];
    if (tag === 0x0a) decoded.key = getBytes(row, cursor);
    else if (tag === 0x10) decoded.createRevision = getVarint(row, cursor);
    else if (tag === 0x18) decoded.modRevision = getVarint(row, cursor);
    else if (tag === 0x20) decoded.version = getVarint(row, cursor);
    else if (tag === 0x2a) decoded.value = getBytes(row, cursor);
    else if (tag === 0x30) decoded.lease = getLease(row, cursor);
    else assert(false, `a stored key-value has no field with tag ${tag}`);
  }
  assert(cursor.at === row.length, "a stored key-value is cut short");
  return decoded;
}

/** Of a latest row, without decoding the rest: key and create revision stand before it. */
export function modRevisionOf(row: Uint8Array): Revision {
  const cursor = { at: 1 };
  assert(row[0] === 0x0a, "a stored key-value begins with its key");
  getBytes(row, cursor);
  assert(row[cursor.at++] === 0x10, "a stored key-value has a create revision");
  getVarint(row, cursor);
  assert(row[cursor.at++] === 0x18, "a stored key-value has a mod revision");
  return getVarint(row, cursor);
}

interface Cursor {
  at: number;
}

function getVarint(row: Uint8Array, cursor: Cursor): number {
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = row[cursor.at++] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 0x80;
  }
}

function getBytes(row: Uint8Array, cursor: Cursor): Uint8Array {
  const length = getVarint(row, cursor);
  const start = cursor.at;
  cursor.at += length;
  return row.subarray(start, cursor.at);
}

function getLease(row: Uint8Array, cursor: Cursor): string {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = row[cursor.at++] as number;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asIntN(64, value).toString();
  }
}
