import * as fc from "fast-check";
import { expect, test } from "vitest";
import { compareBytes } from "../../src/base/bytes.ts";
import { noLease } from "../../src/base/ids.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import { KeyValue } from "../../src/proto/mvccpb/kv.ts";
import {
  decodeCompactionRow,
  decodeKeyValue,
  encodeCompactionRow,
  historyFlags,
  historyRowKey,
  latestRowKey,
  modRevisionOf,
  parseHistoryRowKey,
  RowEncoder,
} from "../../src/state/mvcc-row.ts";

// Around every place where a varint or a word grows.
const counters = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc
    .tuple(fc.integer({ min: 7, max: 52 }), fc.integer({ min: -2, max: 2 }))
    .map(([bits, delta]) => 2 ** bits + delta),
  fc.constant(Number.MAX_SAFE_INTEGER),
);
const leases = fc.oneof(
  fc.constant(noLease),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((id) => id.toString() as LeaseId),
);
const pairs = fc.record({
  key: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  value: fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(new Uint8Array(20_000).fill(7))),
  createRevision: counters,
  modRevision: counters,
  version: counters,
  lease: leases,
});

test("RowEncoder.put writes exactly the bytes of the generated encoder", () => {
  const encoder = new RowEncoder();
  fc.assert(
    fc.property(pairs, (pair) => {
      const row = encoder.put(pair.key, pair, pair.value);
      expect(row[0]).toBe(0);
      expect(Buffer.compare(row.subarray(1), KeyValue.encode(pair).finish())).toBe(0);
    }),
  );
});

test("modRevisionOf finds the mod revision of a latest row", () => {
  const encoder = new RowEncoder();
  fc.assert(
    fc.property(pairs, (pair) => {
      const row = encoder.put(pair.key, pair, pair.value).subarray(1);
      expect(modRevisionOf(row)).toBe(pair.modRevision);
    }),
  );
});

test("decodeKeyValue reads what was written", () => {
  const encoder = new RowEncoder();
  fc.assert(
    fc.property(pairs, (pair) => {
      const { key, value, ...numbers } = decodeKeyValue(encoder.put(pair.key, pair, pair.value), 1);
      expect(numbers).toEqual({
        createRevision: pair.createRevision,
        modRevision: pair.modRevision,
        version: pair.version,
        lease: pair.lease,
      });
      expect(Buffer.compare(key, pair.key)).toBe(0);
      expect(Buffer.compare(value, pair.value)).toBe(0);
    }),
  );
});

test("decodeKeyValue refuses a row that is cut short", () => {
  const row = KeyValue.encode(KeyValue.fromPartial({ key: Uint8Array.of(1, 2, 3) })).finish();
  expect(() => decodeKeyValue(row.subarray(0, 4))).toThrow(/cut short/);
});

test("RowEncoder.tombstone holds only key and mod revision", () => {
  const row = new RowEncoder().tombstone(Uint8Array.of(9), 2 ** 40);
  expect(row[0]).toBe(historyFlags.delete);
  const expected = KeyValue.fromPartial({ key: Uint8Array.of(9), modRevision: 2 ** 40 });
  expect(decodeKeyValue(row, 1)).toEqual(expected);
});

test("historyRowKey sorts as revisions do, and reads back", () => {
  const places = fc.record({ main: counters, sub: fc.integer({ min: 0, max: 2 ** 32 - 1 }) });
  fc.assert(
    fc.property(places, places, (left, right) => {
      const leftKey = historyRowKey(left.main, left.sub);
      const rightKey = historyRowKey(right.main, right.sub);
      expect(parseHistoryRowKey(leftKey)).toEqual(left);
      const order = left.main - right.main || left.sub - right.sub;
      expect(Math.sign(compareBytes(leftKey, rightKey))).toBe(Math.sign(order));
    }),
  );
});

test("latestRowKey keeps key order, and rows of compaction read back", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), counters, (left, right, revision) => {
      const order = Math.sign(compareBytes(latestRowKey(left), latestRowKey(right)));
      expect(order).toBe(Math.sign(compareBytes(left, right)));
      expect(decodeCompactionRow(encodeCompactionRow(revision))).toBe(revision);
    }),
  );
});
