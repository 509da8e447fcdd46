import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import { DecodeError } from "../../src/raft/codec.ts";
import type { Entry } from "../../src/raft/entry.ts";
import {
  decodeEntries,
  decodeRecord,
  RecordBuffer,
  recordPlaces,
  type Checkpoint,
} from "../../src/wal/record.ts";
import { cluster, configuration, entries, member } from "../contract/log.ts";
import { store } from "./settle.ts";

const counter = fc.oneof(
  fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 53 - 1),
  fc.maxSafeNat().map((value) => Math.max(1, value)),
);
const anyEntry: fc.Arbitrary<Entry> = fc.record({
  term: counter,
  index: counter,
  kind: fc.constantFrom("normal" as const, "configuration" as const),
  data: fc.uint8Array({ maxLength: 10_000 }),
});

const checkpoint: Checkpoint = {
  identity: { cluster, member, store, start: 12 },
  base: { term: 2, index: 7 },
  lastIndex: 2 ** 40,
  hardState: { term: 5, vote: member, commit: 2 ** 53 - 1 },
  configuration: { ...configuration, learners: ["18446744073709551615" as MemberId] },
};

describe("RecordBuffer", () => {
  test("gives back entries, with any counters and bytes", () => {
    fc.assert(
      fc.property(fc.array(anyEntry, { maxLength: 5 }), (given) => {
        const buffer = new RecordBuffer();
        for (const entry of given) buffer.addEntry(entry);
        const bytes = buffer.take();
        const read = recordPlaces(bytes).map(({ start, end }) =>
          decodeRecord(bytes.subarray(start, end)),
        );
        expect(read).toEqual(given.map((entry) => ({ type: "entry", entry })));
      }),
    );
  });

  test("gives back every other kind of record", () => {
    const buffer = new RecordBuffer();
    buffer.addCheckpoint(checkpoint);
    buffer.addHardState(checkpoint.hardState);
    buffer.addHardState({ term: 1, vote: null, commit: 0 });
    buffer.addTruncate(2 ** 53 - 1);
    const bytes = buffer.take();
    expect(
      recordPlaces(bytes).map(({ start, end }) => decodeRecord(bytes.subarray(start, end))),
    ).toEqual([
      { type: "checkpoint", checkpoint },
      { type: "hardState", hardState: checkpoint.hardState },
      { type: "hardState", hardState: { term: 1, vote: null, commit: 0 } },
      { type: "truncate", from: 2 ** 53 - 1 },
    ]);
    expect(buffer.length()).toBe(0);
  });
});

describe("decodeRecord", () => {
  test("refuses every single-bit flip", () => {
    const buffer = new RecordBuffer();
    buffer.addCheckpoint(checkpoint);
    const bytes = buffer.take();
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => decodeRecord(flipped)).toThrow(DecodeError);
    }
  });

  test("throws nothing but DecodeError, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const decode of [decodeRecord, recordPlaces]) {
          try {
            decode(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(DecodeError);
          }
        }
      }),
    );
  });
});

test("decodeEntries refuses entries that are not the ones asked for", () => {
  const buffer = new RecordBuffer();
  for (const entry of entries(4, 6)) buffer.addEntry(entry);
  const bytes = buffer.take();
  expect(decodeEntries(bytes, 4)).toEqual(entries(4, 6));
  expect(() => decodeEntries(bytes, 5)).toThrow("what was read is not entry 5");
});
