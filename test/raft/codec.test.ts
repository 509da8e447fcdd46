// The binary form: everything comes back as it went in, nothing else decodes, and nothing decodes
// to a value with another encoding.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import {
  DecodeError,
  decodeConfiguration,
  decodeEntry,
  decodeHardState,
  decodeMessage,
  encodeConfiguration,
  encodeEntry,
  encodeHardState,
  encodeMessage,
  entryBytes,
  writeEntry,
} from "../../src/raft/codec.ts";
import type { Entry, EntryId } from "../../src/raft/entry.ts";
import type { Message } from "../../src/raft/message.ts";

const edges = [0, 1, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
const counter = fc.oneof(fc.constantFrom(...edges), fc.maxSafeNat());
const position = counter.map((value) => Math.max(1, value));
const memberId = fc
  .oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.constantFrom(1n, 2n ** 53n, 2n ** 63n))
  .map((id) => String(id) as MemberId);
const bytes = fc.uint8Array({ maxLength: 300 });
const entryId: fc.Arbitrary<EntryId> = fc.record({ term: counter, index: counter });
const entry: fc.Arbitrary<Entry> = fc.record({
  term: position,
  index: position,
  kind: fc.constantFrom("normal", "configuration"),
  data: bytes,
});

const envelope = { from: memberId, to: memberId, term: counter };
const append = fc
  .record({
    ...envelope,
    previous: entryId,
    commit: counter,
    data: fc.array(bytes, { maxLength: 5 }),
  })
  .map(({ from, to, previous, commit, data, term }): Message => {
    const index = Math.min(previous.index, 2 ** 53 - 10);
    const termMin = Math.max(1, previous.term);
    const entries = data.map((bytes, i): Entry => {
      return { term: termMin, index: index + 1 + i, kind: "normal", data: bytes };
    });
    const own = Math.max(term, termMin);
    return {
      type: "append",
      from,
      to,
      term: own,
      previous: { ...previous, index },
      entries,
      commit,
    };
  });

const message: fc.Arbitrary<Message> = fc.oneof(
  append,
  fc.record({ type: fc.constant("appendResponse"), ...envelope, match: counter }),
  fc.record({
    type: fc.constant("appendRejection"),
    ...envelope,
    previous: counter,
    hint: entryId,
  }),
  fc.record({ type: fc.constant("heartbeat"), ...envelope, round: counter, commit: counter }),
  fc.record({ type: fc.constant("heartbeatResponse"), ...envelope, round: counter }),
  fc.record({ type: fc.constant("preVote"), ...envelope, round: counter, last: entryId }),
  fc.record({
    type: fc.constant("preVoteResponse"),
    ...envelope,
    round: counter,
    granted: fc.boolean(),
  }),
  fc.record({ type: fc.constant("vote"), ...envelope, last: entryId }),
  fc.record({ type: fc.constant("voteResponse"), ...envelope, granted: fc.boolean() }),
  fc.record({
    type: fc.constant("propose"),
    ...envelope,
    batch: counter,
    start: counter,
    commands: fc.array(bytes),
  }),
  fc.record({ type: fc.constant("proposeRejection"), ...envelope, batch: counter, start: counter }),
  fc.record({ type: fc.constant("readIndex"), ...envelope, request: counter, start: counter }),
  fc.record({
    type: fc.constant("readIndexResponse"),
    ...envelope,
    request: counter,
    start: counter,
    index: fc.option(counter),
  }),
);

test("decodeMessage gives back what encodeMessage took, for every type and at every edge", () => {
  fc.assert(
    fc.property(message, (value) => {
      expect(decodeMessage(encodeMessage(value))).toEqual(value);
    }),
    { numRuns: 1000 },
  );
});

test("decodeEntry gives back what encodeEntry took, and entryBytes is its exact size", () => {
  fc.assert(
    fc.property(entry, (value) => {
      const encoded = encodeEntry(value);
      expect(encoded.length).toBe(entryBytes(value));
      expect(decodeEntry(encoded)).toEqual(value);
    }),
  );
});

test("writeEntry writes entryBytes bytes at its place and touches no others", () => {
  const entry: Entry = { term: 3, index: 300, kind: "normal", data: new Uint8Array([7, 8]) };
  const target = new Uint8Array(20).fill(255);
  const end = writeEntry(entry, target, 5);
  expect(end).toBe(5 + entryBytes(entry));
  expect(decodeEntry(target.subarray(5, end))).toEqual(entry);
  expect([...target.subarray(0, 5), ...target.subarray(end)].every((byte) => byte === 255)).toBe(
    true,
  );
});

test("decodeHardState and decodeConfiguration give back what was encoded", () => {
  const hardState = fc.record({ term: counter, vote: fc.option(memberId), commit: counter });
  fc.assert(
    fc.property(hardState, (value) => {
      expect(decodeHardState(encodeHardState(value))).toEqual(value);
    }),
  );
  const members = fc.uniqueArray(memberId, { maxLength: 9 });
  fc.assert(
    fc.property(members, fc.nat(9), (ids, cut) => {
      const value = { voters: ids.slice(0, cut), learners: ids.slice(cut) };
      expect(decodeConfiguration(encodeConfiguration(value))).toEqual(value);
    }),
  );
});

test("decoders throw DecodeError for garbage, or decode what encodes to the same bytes", () => {
  const pairs: [(bytes: Uint8Array) => unknown, (value: never) => Uint8Array][] = [
    [decodeMessage, encodeMessage],
    [decodeEntry, encodeEntry],
    [decodeHardState, encodeHardState],
    [decodeConfiguration, encodeConfiguration],
  ];
  const damaged = fc
    .tuple(message, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.nat(40))
    .map(([value, at, flip, cut]) => {
      const encoded = encodeMessage(value).slice();
      const slot = at % encoded.length;
      encoded[slot] = (encoded[slot] as number) ^ flip;
      return cut < 20 ? encoded.subarray(0, Math.max(0, encoded.length - cut)) : encoded;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), damaged), (garbage) => {
      for (const [decode, encode] of pairs) {
        let value: unknown;
        try {
          value = decode(garbage);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
          continue;
        }
        expect([...encode(value as never)]).toEqual([...garbage]);
      }
    }),
    { numRuns: 3000 },
  );
});

test("decodeMessage refuses an append whose entries have a gap, fall in term or exceed its term", () => {
  const from = "1" as MemberId;
  const to = "2" as MemberId;
  const empty = new Uint8Array(0);
  const make = (entries: [term: number, index: number][]): Uint8Array =>
    encodeMessage({
      type: "append",
      from,
      to,
      term: 5,
      previous: { term: 3, index: 10 },
      entries: entries.map(([term, index]) => ({ term, index, kind: "normal", data: empty })),
      commit: 0,
    });
  expect(
    decodeMessage(
      make([
        [3, 11],
        [5, 12],
      ]),
    ).type,
  ).toBe("append");
  expect(() => decodeMessage(make([[3, 12]]))).toThrow(DecodeError);
  expect(() => decodeMessage(make([[2, 11]]))).toThrow(DecodeError);
  expect(() => decodeMessage(make([[6, 11]]))).toThrow(DecodeError);
});

test("encodeEntry asserts on counters that JavaScript does not hold exactly", () => {
  const empty = new Uint8Array(0);
  expect(() => encodeEntry({ term: 1, index: 2 ** 53, kind: "normal", data: empty })).toThrow(
    "counter",
  );
  expect(() => encodeEntry({ term: -1, index: 1, kind: "normal", data: empty })).toThrow("counter");
});
