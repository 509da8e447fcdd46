import { describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { noLease } from "../../src/base/ids.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import { RangeRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../../src/proto/mvccpb/kv.ts";
import { KeyHash } from "../../src/state/digest.ts";
import { IndexLoader } from "../../src/state/index-loader.ts";
import { TreeKeyIndex } from "../../src/state/key-index-tree.ts";
import { Mvcc } from "../../src/state/mvcc.ts";
import { OpenChanges } from "../../src/state/mvcc-changes.ts";
import {
  intervalHas,
  intervalOf,
  isEmptyInterval,
  keyAfter,
} from "../../src/state/mvcc-interval.ts";
import { isPlainRange, sortPairs } from "../../src/state/mvcc-range.ts";
import { MvccReader } from "../../src/state/mvcc-reader.ts";
import { historyRowKey, historyRowPrefix, RowEncoder } from "../../src/state/mvcc-row.ts";
import { RowMap } from "./row-map.ts";

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text));
}

function text(key: Uint8Array): string {
  return Buffer.from(key).toString();
}

class Fixture {
  readonly store = new RowMap();
  readonly mvcc = new Mvcc(
    { store: this.store, index: new TreeKeyIndex() },
    { removedRevision: -1 },
  );

  put(key: string, value = "", lease = noLease): void {
    const changes = this.mvcc.begin();
    changes.put(bytes(key), bytes(value), lease);
    changes.end();
    this.commit();
  }

  delete(key: string, rangeEnd = ""): KeyValue[] {
    const changes = this.mvcc.begin();
    const removed = changes.deleteRange(bytes(key), bytes(rangeEnd), { values: true });
    changes.end();
    this.commit();
    return removed;
  }

  commit(): void {
    const index = this.store.applied.index + 1;
    this.store.commit({ index, term: 1, ...this.mvcc.summary() });
  }

  range(fields: Partial<RangeRequest>): string {
    const answer = this.mvcc.range(RangeRequest.fromPartial({ ...all, ...fields }));
    if (typeof answer === "string") return answer;
    const kvs = answer.kvs.map((pair) => `${text(pair.key)}=${text(pair.value)}`);
    return `${kvs.join(" ")} count=${answer.count}${answer.more ? " more" : ""}`.trim();
  }
}

const all = { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };

describe("Mvcc", () => {
  test("revision is 1 when empty, and moves once per command that changes something", () => {
    const { mvcc } = new Fixture();
    expect([mvcc.revision(), mvcc.compactRevision()]).toEqual([1, -1]);
    const changes = mvcc.begin();
    expect(changes.deleteRange(bytes("a"), Uint8Array.of(0), { values: false })).toEqual([]);
    expect(changes.end()).toBeNull();
    expect(mvcc.revision()).toBe(1);
    const two = mvcc.begin();
    two.put(bytes("a"), bytes("1"), noLease);
    two.put(bytes("b"), bytes("2"), noLease);
    two.end();
    expect(mvcc.revision()).toBe(2);
    expect(mvcc.find(bytes("b"))).toEqual({
      createRevision: 2,
      modRevision: 2,
      version: 1,
      lease: noLease,
    });
  });

  test("version counts puts since creation, and starts again after a delete", () => {
    const fixture = new Fixture();
    fixture.put("a");
    fixture.put("a");
    fixture.delete("a");
    fixture.put("a", "new", "-5" as LeaseId);
    expect(fixture.mvcc.read(bytes("a"))).toMatchObject({
      createRevision: 5,
      modRevision: 5,
      version: 1,
      lease: "-5",
    });
    expect(fixture.mvcc.read(bytes("a"), 3)).toMatchObject({ createRevision: 2, version: 2 });
    expect(fixture.mvcc.read(bytes("a"), 4)).toBeUndefined();
  });

  test("changes see their own writes, and events come in the order of the writes", () => {
    const fixture = new Fixture();
    fixture.put("a", "old");
    const changes = fixture.mvcc.begin();
    changes.put(bytes("b"), bytes("1"), noLease);
    expect(changes.read(bytes("b"))).toMatchObject({ modRevision: 3 });
    expect(changes.range(RangeRequest.fromPartial(all))).toMatchObject({ count: 2 });
    const removed = changes.deleteRange(bytes("a"), bytes(""), { values: true });
    expect(removed.map(({ value }) => Buffer.from(value).toString())).toEqual(["old"]);
    expect(changes.find(bytes("a"))).toBeUndefined();
    const past = changes.range(RangeRequest.fromPartial({ ...all, revision: 2 }));
    expect(past).toMatchObject({ count: 1, header: { revision: 3 } });
    const events = changes.end();
    expect(events?.revision).toBe(3);
    expect(events?.events.map(({ type, kv }) => [type, kv?.key, kv?.modRevision])).toEqual([
      [0, bytes("b"), 3],
      [1, bytes("a"), 3],
    ]);
    expect(events?.events[1]?.kv).toMatchObject({ createRevision: 0, version: 0, lease: "0" });
  });

  test("only one command is open at a time, and an ended one takes nothing", () => {
    const { mvcc } = new Fixture();
    const changes = mvcc.begin();
    expect(() => mvcc.begin()).toThrow(AssertionError);
    expect(() => mvcc.compact(1)).toThrow(AssertionError);
    changes.end();
    expect(() => changes.put(bytes("a"), bytes(""), noLease)).toThrow(AssertionError);
    expect(() => changes.end()).toThrow(AssertionError);
  });

  test("range takes a zero byte as no end, and an end before the key as nothing", () => {
    const fixture = new Fixture();
    for (const key of ["a", "b", "c"]) fixture.put(key, key);
    expect(fixture.range({})).toBe("a=a b=b c=c count=3");
    expect(fixture.range({ key: bytes("b") })).toBe("b=b c=c count=2");
    expect(fixture.range({ key: bytes("a"), rangeEnd: bytes("c") })).toBe("a=a b=b count=2");
    expect(fixture.range({ key: bytes("b"), rangeEnd: bytes("") })).toBe("b=b count=1");
    expect(fixture.range({ key: bytes("c"), rangeEnd: bytes("a") })).toBe("count=0");
  });

  test("range sorts before it cuts, keeps key order among equals, and counts without the limit", () => {
    const fixture = new Fixture();
    fixture.put("a", "2");
    fixture.put("b", "1");
    fixture.put("c", "2");
    fixture.put("d", "1");
    expect(fixture.range({ sortTarget: 4, limit: 3 })).toBe("b=1 d=1 a=2 count=4 more");
    expect(fixture.range({ sortTarget: 4, sortOrder: 2 })).toBe("a=2 c=2 b=1 d=1 count=4");
    expect(fixture.range({ sortOrder: 2, limit: 1 })).toBe("d=1 count=4 more");
    expect(fixture.range({ limit: 4 })).toBe("a=2 b=1 c=2 d=1 count=4");
    expect(fixture.range({ countOnly: true, limit: 1 })).toBe("count=4");
    expect(fixture.range({ minModRevision: 3, maxModRevision: 4 })).toBe("b=1 c=2 count=4");
    expect(fixture.range({ minCreateRevision: 4, limit: 1 })).toBe("c=2 count=4 more");
  });

  test("range with keys_only keeps the lease and drops the value", () => {
    const fixture = new Fixture();
    fixture.put("a", "1", "9" as LeaseId);
    const answer = fixture.mvcc.range(RangeRequest.fromPartial({ ...all, keysOnly: true }));
    expect(answer).toMatchObject({ kvs: [{ lease: "9", version: 1, value: new Uint8Array(0) }] });
  });

  test("compact follows etcd's rules of what is compacted and what is to come", () => {
    const fixture = new Fixture();
    for (let i = 0; i < 4; i++) fixture.put("a", `${i}`);
    const { mvcc } = fixture;
    expect(mvcc.compact(-1)).toBe("compacted");
    expect(mvcc.compact(0)).toBeNull();
    expect(mvcc.compact(0)).toBe("compacted");
    expect(mvcc.compact(6)).toBe("futureRev");
    expect(mvcc.compact(4)).toBeNull();
    expect(fixture.range({ revision: 3 })).toBe("compacted");
    expect(fixture.range({ revision: 4 })).toBe("a=2 count=1");
    expect(fixture.range({ revision: 6 })).toBe("futureRev");
    expect(fixture.range({ revision: -7 })).toBe("a=3 count=1");
  });

  test("compactStep removes exactly the rows below the floor, in slices", () => {
    const fixture = new Fixture();
    fixture.put("a"); // 2
    fixture.put("a"); // 3
    fixture.put("b"); // 4
    fixture.delete("b"); // 5
    fixture.put("c"); // 6
    fixture.delete("c"); // 7
    fixture.put("a"); // 8
    const historyRows = () => fixture.store.rowsOf(historyRowPrefix).length;
    expect(historyRows()).toBe(7);
    expect(fixture.mvcc.compact(7)).toBeNull();
    expect(() => fixture.mvcc.compactStep(1)).toThrow(/committed/);
    fixture.commit();
    let steps = 0;
    while (fixture.mvcc.compactStep(1)) steps++;
    expect(steps).toBeGreaterThan(1);
    expect(fixture.mvcc.compactStep(1)).toBe(false);
    const has = (main: number) => fixture.store.get(historyRowKey(main, 0)) !== undefined;
    // 3 is what "a" is at 7; the tombstone at 7 is kept for watchers that start there.
    expect([2, 3, 4, 5, 6, 7, 8].filter(has)).toEqual([3, 7, 8]);
    expect(fixture.range({ revision: 7 })).toBe("a= count=1");
  });

  test("compactStep gives a floor that moved during removal a pass of its own", () => {
    const fixture = new Fixture();
    for (const key of ["a", "b", "c", "a", "b", "c", "a", "b", "c"]) fixture.put(key);
    fixture.mvcc.compact(6);
    fixture.commit();
    expect(fixture.mvcc.compactStep(1)).toBe(true);
    fixture.mvcc.compact(9);
    fixture.commit();
    while (fixture.mvcc.compactStep(1));
    // At 9: "a" is of 8, "b" of 9, "c" of 7; and 10 is above.
    expect(fixture.store.rowsOf(historyRowPrefix)).toHaveLength(4);
    expect(fixture.range({ revision: 9, countOnly: true })).toBe("count=3");
  });

  test("eachLeased visits the keys that have a lease, in key order", () => {
    const fixture = new Fixture();
    fixture.put("b", "", "2" as LeaseId);
    fixture.put("a", "", "1" as LeaseId);
    fixture.put("c");
    fixture.put("d", "", "1" as LeaseId);
    fixture.delete("d");
    const visited: string[] = [];
    fixture.mvcc.eachLeased((key, lease) => visited.push(`${text(key)}:${lease}`));
    expect(visited).toEqual(["a:1", "b:2"]);
  });

  test("a latest row of another revision than the index names is damage", () => {
    const fixture = new Fixture();
    fixture.put("a", "1");
    const [stale] = [...fixture.store.rows].filter(([key]) => key.startsWith("K"));
    fixture.put("a", "2");
    if (stale !== undefined) fixture.store.rows.set(...stale);
    expect(() => fixture.mvcc.read(bytes("a"))).toThrow(AssertionError);
    expect(() => fixture.mvcc.latestRow(bytes("a"))).toThrow(AssertionError);
  });
});

test("intervalOf agrees with intervalHas and isEmptyInterval", () => {
  expect(isEmptyInterval(intervalOf(bytes("b"), bytes("b")))).toBe(true);
  expect(isEmptyInterval(intervalOf(bytes("b"), bytes("")))).toBe(false);
  expect(intervalHas(intervalOf(bytes("b"), bytes("")), bytes("b"))).toBe(true);
  expect(intervalHas(intervalOf(bytes("b"), bytes("")), keyAfter(bytes("b")))).toBe(false);
  expect(intervalHas(intervalOf(bytes("b"), Uint8Array.of(0)), bytes("zz"))).toBe(true);
});

test("isPlainRange holds for key order without filters, and sortPairs leaves that order", () => {
  expect(isPlainRange(RangeRequest.fromPartial({ ...all, sortOrder: 1 }))).toBe(true);
  expect(isPlainRange(RangeRequest.fromPartial({ ...all, sortOrder: 2 }))).toBe(false);
  expect(isPlainRange(RangeRequest.fromPartial({ ...all, minModRevision: 1 }))).toBe(false);
  const pairs: KeyValue[] = [];
  sortPairs(RangeRequest.fromPartial(all), pairs);
  expect(pairs).toEqual([]);
});

test("KeyHash tells apart what trades bytes between key and value", () => {
  const hash = new KeyHash();
  const meta = { createRevision: 2, modRevision: 2, version: 1, lease: noLease };
  const seen = new Set<string>();
  for (const [key, value] of [
    ["ab", "c"],
    ["a", "bc"],
    ["abc", ""],
    ["ab", "c\0"],
  ] as const) {
    hash.of(bytes(key), meta, bytes(value));
    seen.add(`${hash.low} ${hash.high}`);
  }
  expect(seen.size).toBe(4);
});

test("OpenChanges numbers sub revisions from 0 and marks the last history row", () => {
  const store = new RowMap();
  const index = new TreeKeyIndex();
  const parts = {
    store,
    index,
    reader: new MvccReader({ store, index }),
    encoder: new RowEncoder(),
  };
  const changes = new OpenChanges(parts, { revision: 2, ended: () => {} });
  changes.put(bytes("a"), bytes("1"), noLease);
  changes.put(bytes("b"), bytes("2"), noLease);
  changes.deleteRange(bytes("a"), bytes(""), { values: false });
  changes.end();
  const flags = [0, 1, 2].map((sub) => store.get(historyRowKey(2, sub))?.[0]);
  expect(flags).toEqual([0, 0, 3]);
});

test("IndexLoader names the revision that is missing", () => {
  const fixture = new Fixture();
  for (const key of ["a", "b", "c"]) fixture.put(key);
  const loader = new IndexLoader(new TreeKeyIndex(), fixture.store.applied);
  const row = (main: number) => fixture.store.get(historyRowKey(main, 0)) ?? new Uint8Array(0);
  expect(loader.history(historyRowKey(2, 0), row(2))).toBeNull();
  expect(loader.history(historyRowKey(4, 0), row(4))).toMatch(/4\.0 stands where 3\.0 is due/);
  expect(loader.finish()).toMatch(/history ends before 3\.0/);
});
