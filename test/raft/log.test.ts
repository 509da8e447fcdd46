// The tail in memory: bounded by bytes, and honest about what is on disk when entries are replaced
// while a write of theirs is under way.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { entryBytes } from "../../src/raft/codec.ts";
import type { Entry } from "../../src/raft/entry.ts";
import { RaftLog } from "../../src/raft/log.ts";

function entry(term: number, index: number, bytes = 10): Entry {
  return { term, index, kind: "normal", data: new Uint8Array(bytes) };
}

function emptyLog(tailBytesMax = 1 << 20): RaftLog {
  return new RaftLog({ tail: [], termBeforeTail: 0, firstIndex: 1 }, tailBytesMax);
}

test("RaftLog.synced counts no entry that replaced the one that was written", () => {
  const log = emptyLog();
  for (let index = 1; index <= 3; index++) log.append(entry(1, index));
  expect(log.takeUnsaved(1)).toHaveLength(3);
  log.truncate(2);
  log.append(entry(2, 2));
  log.append(entry(2, 3));
  log.synced(1);
  expect(log.durable()).toBe(1);
  expect(log.takeUnsaved(2).map(({ term, index }) => [term, index])).toEqual([
    [2, 2],
    [2, 3],
  ]);
  log.synced(2);
  expect(log.durable()).toBe(3);
});

test("RaftLog.trim keeps the tail within its bytes, but nothing uncommitted or unsynced leaves", () => {
  const log = emptyLog(100);
  for (let index = 1; index <= 100; index++) log.append(entry(1, index));
  log.trim(100);
  expect(log.tailFirst()).toBe(1);
  log.takeUnsaved(1);
  log.synced(1);
  log.trim(50);
  expect(log.tailFirst()).toBe(51);
  log.trim(100);
  expect(log.tailBytes()).toBeLessThanOrEqual(100);
  expect(log.last()).toBe(100);
});

test("RaftLog.termAt knows terms that left the tail, and not those before this start", () => {
  const log = new RaftLog(
    { tail: [entry(3, 8), entry(3, 9)], termBeforeTail: 2, firstIndex: 1 },
    0,
  );
  log.append(entry(5, 10));
  log.takeUnsaved(1);
  log.synced(1);
  log.trim(10);
  expect(log.tailFirst()).toBe(11);
  expect([0, 6, 7, 8, 9, 10].map((index) => log.termAt(index))).toEqual([0, null, 2, 3, 3, 5]);
  expect(log.lastId()).toEqual({ term: 5, index: 10 });
});

test("RaftLog.slice is cut after bytesMax and never empty", () => {
  const log = emptyLog();
  for (let index = 1; index <= 5; index++) log.append(entry(1, index));
  const size = entryBytes(entry(1, 1));
  expect(log.slice(2, 5, 0).map(({ index }) => index)).toEqual([2]);
  expect(log.slice(2, 5, 2 * size).map(({ index }) => index)).toEqual([2, 3]);
  expect(log.slice(2, 5, 3 * size - 1).map(({ index }) => index)).toEqual([2, 3]);
  expect(log.slice(2, 5, Infinity).map(({ index }) => index)).toEqual([2, 3, 4, 5]);
});

test("RaftLog refuses configuration entries, which no feature writes", () => {
  const log = emptyLog();
  expect(() => log.append({ ...entry(1, 1), kind: "configuration" })).toThrow("no feature writes");
});

test("RaftLog agrees with a plain array through appends, cuts, syncs and trims", () => {
  const action = fc.record({
    what: fc.constantFrom("append", "cut", "save", "sync", "trim"),
    amount: fc.nat(30),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const log = emptyLog(60);
      const model: Entry[] = [];
      let commit = 0;
      let sync = 0;
      let term = 1;
      for (const { what, amount } of actions) {
        if (what === "append") {
          for (let i = 0; i < amount; i++) model.push(entry(term, model.length + 1, amount));
          for (const added of model.slice(log.last())) log.append(added);
        } else if (what === "cut" && model.length > commit) {
          const first = commit + 1 + (amount % (model.length - commit));
          model.length = first - 1;
          log.truncate(first);
          term++;
        } else if (what === "save") {
          log.takeUnsaved(++sync);
        } else if (what === "sync") {
          log.synced(Math.max(0, sync - (amount % 3)));
        } else if (what === "trim") {
          commit = Math.max(commit, Math.min(model.length, commit + amount));
          log.trim(commit);
        }
        expect(log.last()).toBe(model.length);
        expect(log.durable()).toBeLessThanOrEqual(model.length);
        const tail = model.slice(log.tailFirst() - 1);
        if (tail.length > 0) expect(log.slice(log.tailFirst(), log.last(), Infinity)).toEqual(tail);
        expect(log.tailBytes()).toBe(tail.reduce((sum, one) => sum + entryBytes(one), 0));
        model.forEach((one, i) => expect(log.termAt(i + 1)).toBe(one.term));
      }
    }),
    { numRuns: 200 },
  );
});

test("RaftLog.agreementAtMost skips whole terms and never goes below the floor", () => {
  const log = emptyLog();
  const terms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  terms.forEach((term, i) => log.append(entry(term, i + 1)));
  expect(log.agreementAtMost(10, 6, 0)).toBe(10);
  expect(log.agreementAtMost(10, 5, 0)).toBe(7);
  expect(log.agreementAtMost(10, 3, 0)).toBe(3);
  expect(log.agreementAtMost(6, 5, 0)).toBe(6);
  expect(log.agreementAtMost(10, 3, 5)).toBe(5);
  expect(log.agreementAtMost(10, 0, 0)).toBe(0);
});
