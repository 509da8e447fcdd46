// A leader's view of one follower: the pipeline is bounded by count and bytes, and nothing stays in
// flight for ever, whatever becomes of the messages (etcd raft #54).
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import { varintBytes } from "../../src/base/bytes.ts";
import { ByteReader, ByteWriter, DecodeError } from "../../src/raft/codec-bytes.ts";
import { entryBytes } from "../../src/raft/codec.ts";
import type { Entry } from "../../src/raft/entry.ts";
import {
  Inflight,
  becomeProbe,
  keepLoaded,
  maybeAdvance,
  newProgress,
  noteSent,
} from "../../src/raft/progress.ts";

const limits = { inflightCountMax: 3, inflightBytesMax: 100 };

function entry(index: number, bytes = 10): Entry {
  return { term: 1, index, kind: "normal", data: new Uint8Array(bytes) };
}

test("Inflight is full by count or by bytes, and freed up to what was acknowledged", () => {
  const inflight = new Inflight(3, 100);
  inflight.add(5, 40);
  inflight.add(7, 60);
  expect(inflight.isFull()).toBe(true);
  inflight.freeTo(6);
  expect([inflight.count(), inflight.bytes(), inflight.isFull()]).toEqual([1, 60, false]);
  inflight.add(8, 1);
  inflight.add(9, 1);
  expect(inflight.isFull()).toBe(true);
  expect(() => inflight.add(10, 1)).toThrow("more in flight");
  inflight.freeTo(100);
  expect([inflight.count(), inflight.bytes()]).toEqual([0, 0]);
});

test("maybeAdvance moves match forward only, and starts the pipeline at the answer to a probe", () => {
  const progress = newProgress("2" as MemberId, { last: 10, tick: 0 }, limits);
  progress.probeSent = true;
  expect(maybeAdvance(progress, 4)).toBe(true);
  expect(progress).toMatchObject({ state: "replicate", match: 4, next: 5, probeSent: false });
  expect(maybeAdvance(progress, 3)).toBe(false);
  expect(progress).toMatchObject({ match: 4, next: 5 });
});

test("maybeAdvance takes an acknowledgement from below match as no answer to a probe", () => {
  const progress = newProgress("2" as MemberId, { last: 10, tick: 0 }, limits);
  maybeAdvance(progress, 4);
  becomeProbe(progress, 7);
  maybeAdvance(progress, 2);
  expect(progress).toMatchObject({ state: "probe", match: 4, next: 7 });
  expect(() => becomeProbe(progress, 4)).toThrow("what the follower has");
});

test("keepLoaded keeps what begins at next or before it, and nothing else", () => {
  const progress = newProgress("2" as MemberId, { last: 10, tick: 0 }, limits);
  keepLoaded(progress, 3, [entry(3), entry(4)]);
  expect(progress.loaded).toEqual([]);
  keepLoaded(progress, 10, [entry(10), entry(11)]);
  expect(progress).toMatchObject({ previousTerm: 1, loaded: [{ index: 11 }] });
  becomeProbe(progress, 5);
  expect(progress).toMatchObject({ previousTerm: null, loaded: [] });
});

test("progress leaves nothing in flight once everything is acknowledged or probed", () => {
  const step = fc.record({ what: fc.constantFrom("send", "ack", "reject"), amount: fc.nat(5) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const progress = newProgress("2" as MemberId, { last: 0, tick: 0 }, limits);
      maybeAdvance(progress, 0);
      for (const { what, amount } of steps) {
        const { match, next, inflight } = progress;
        if (what === "send" && progress.state === "replicate" && !inflight.isFull()) {
          noteSent(
            progress,
            Array.from({ length: amount + 1 }, (_, i) => entry(next + i)),
          );
        } else if (what === "ack") {
          maybeAdvance(progress, Math.min(next - 1, match + amount));
        } else if (what === "reject") {
          becomeProbe(progress, Math.max(match + 1, next - amount));
        }
        expect(progress.match).toBeLessThan(progress.next);
        const isIdle = progress.match === progress.next - 1 || progress.state === "probe";
        if (isIdle) expect([inflight.count(), inflight.bytes()]).toEqual([0, 0]);
        expect(inflight.count()).toBeLessThanOrEqual(limits.inflightCountMax);
        expect(inflight.bytes()).toBeLessThan(limits.inflightBytesMax + 6 * entryBytes(entry(1)));
      }
    }),
  );
});

test("ByteWriter and ByteReader have one form for each number", () => {
  for (const value of [0, 127, 128, 2 ** 31, 2 ** 32, 2 ** 53 - 1]) {
    const bytes = new Uint8Array(varintBytes(value));
    new ByteWriter(bytes, 0).varint(value);
    expect(new ByteReader(bytes).varint()).toBe(value);
  }
  expect(() => new ByteReader(new Uint8Array([0x80, 0])).varint()).toThrow(DecodeError);
  const large = new Uint8Array([255, 255, 255, 255, 255, 255, 255, 127]);
  expect(() => new ByteReader(large).varint()).toThrow("2^53 - 1");
  expect(() => new ByteReader(new Uint8Array(9).fill(128)).varint()).toThrow("too long");
});
