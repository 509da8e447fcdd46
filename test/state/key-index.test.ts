import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/base/bytes.ts";
import { noLease } from "../../src/base/ids.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import { Prng } from "../../src/base/prng.ts";
import { emptyDigest } from "../../src/state/digest.ts";
import type { KeyMeta, RevisionRef } from "../../src/state/key-index.ts";
import { TreeKeyIndex } from "../../src/state/key-index-tree.ts";
import { KeyRecord } from "../../src/state/key-record.ts";
import { KeyTree } from "../../src/state/key-tree.ts";
import { everyKey } from "../../src/state/mvcc-interval.ts";
import type { Interval } from "../../src/state/mvcc-interval.ts";

interface ModelChange extends RevisionRef {
  readonly meta: KeyMeta | null;
}

interface ModelKey {
  readonly key: Uint8Array;
  changes: ModelChange[];
}

/** A sorted array of keys, each with all its changes. */
class ModelIndex {
  readonly #byText = new Map<string, ModelKey>();
  #sorted: ModelKey[] | null = null;

  keys(): readonly ModelKey[] {
    const all = [...this.#byText.values()];
    this.#sorted ??= all.toSorted((left, right) => compareBytes(left.key, right.key));
    return this.#sorted;
  }

  add(key: Uint8Array, change: ModelChange): void {
    const text = key.join();
    const found = this.#byText.get(text);
    if (found !== undefined) {
      found.changes.push(change);
      return;
    }
    this.#byText.set(text, { key, changes: [change] });
    this.#sorted = null;
  }

  live({ first, end }: Interval, revision: number): { key: Uint8Array; change: ModelChange }[] {
    return this.keys()
      .filter(
        ({ key }) => compareBytes(key, first) >= 0 && (end === null || compareBytes(key, end) < 0),
      )
      .flatMap(({ key, changes }) => {
        const change = changes.findLast(({ main }) => main <= revision);
        return change === undefined || change.meta === null ? [] : [{ key, change }];
      });
  }

  /** Facts 2.7, change by change. */
  compact(revision: number): string[] {
    const forgotten: string[] = [];
    for (const [text, entry] of this.#byText) {
      const newest = entry.changes.findLast(({ main }) => main <= revision);
      entry.changes = entry.changes.filter((change) => {
        const isSuperseded = change.main < revision && change !== newest;
        const isOldTombstone = change === newest && change.meta === null && change.main < revision;
        const stays = change.main > revision || !(isSuperseded || isOldTombstone);
        if (!stays) forgotten.push(`${change.main}.${change.sub}`);
        return stays;
      });
      if (entry.changes.length === 0) this.#byText.delete(text);
    }
    this.#sorted = null;
    return forgotten;
  }
}

function placeText({ main, sub }: RevisionRef): string {
  return `${main}.${sub}`;
}

function liveText(key: Uint8Array, meta: KeyMeta | null): string {
  if (meta === null) return `${key.join()} deleted`;
  const { createRevision, modRevision, version, lease } = meta;
  return [key.join(), createRevision, modRevision, version, lease].join(" ");
}

class IndexPair {
  readonly index = new TreeKeyIndex();
  readonly model = new ModelIndex();
  revision = 1;

  put(key: Uint8Array, lease: LeaseId): void {
    const at = { main: ++this.revision, sub: key.length };
    const before = this.index.find(key);
    const meta = this.index.put(key, at, lease, key);
    expect(meta).toEqual({
      createRevision: before?.createRevision ?? at.main,
      modRevision: at.main,
      version: (before?.version ?? 0) + 1,
      lease,
    });
    this.model.add(key, { ...at, meta });
  }

  deleteIfLive(key: Uint8Array): void {
    if (this.index.find(key) === undefined) return;
    const at = { main: ++this.revision, sub: 0 };
    this.index.tombstone(key, at);
    this.model.add(key, { ...at, meta: null });
  }

  compact(revision: number, revisionsMax: number): void {
    const forgotten: string[] = [];
    let from: Uint8Array | null = new Uint8Array(0);
    for (let turns = 0; from !== null; turns++) {
      const before: number = forgotten.length;
      from = this.index.compact({ revision, from, revisionsMax }, (at) => {
        forgotten.push(placeText(at));
      });
      expect(forgotten.length - before).toBeLessThanOrEqual(revisionsMax + 1);
      expect(turns).toBeLessThan(100_000);
    }
    expect(forgotten.toSorted()).toEqual(this.model.compact(revision).toSorted());
  }

  check(interval: Interval, revision: number): void {
    const { index, model } = this;
    const newest = model.live(interval, this.revision);
    expect(index.count(interval)).toBe(newest.length);
    const scanned: string[] = [];
    index.scan(interval, (key, meta) => {
      scanned.push(liveText(key, meta));
      expect(liveText(key, index.find(key) ?? null)).toBe(scanned.at(-1));
      return true;
    });
    expect(scanned).toEqual(newest.map(({ key, change }) => liveText(key, change.meta)));

    const past = model.live(interval, revision);
    expect(index.countAt(interval, revision)).toBe(past.length);
    const places: string[] = [];
    index.scanAt(interval, revision, (key, at) => {
      expect(index.at(key, revision)).toEqual(at);
      if (at !== undefined) places.push(`${key.join()} ${placeText(at)}`);
      return true;
    });
    expect(places).toEqual(past.map(({ key, change }) => `${key.join()} ${placeText(change)}`));
    expect(index.keyCount()).toBe(model.live(everyKey, this.revision).length);
  }
}

const keys = fc.uint8Array({ minLength: 1, maxLength: 2, max: 1 });

describe("TreeKeyIndex", () => {
  test("agrees with a sorted array through puts, deletes and compactions", () => {
    const operation = fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant("put" as const), keys, fc.nat(9)) },
      { weight: 4, arbitrary: fc.tuple(fc.constant("delete" as const), keys, fc.nat(9)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant("compact" as const), keys, fc.nat(9)) },
      { weight: 3, arbitrary: fc.tuple(fc.constant("check" as const), keys, fc.nat(9)) },
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60, size: "max" }), (operations) => {
        const pair = new IndexPair();
        let floor = 0;
        for (const [type, key, n] of operations) {
          if (type === "put") pair.put(key, noLease);
          else if (type === "delete") pair.deleteIfLive(key);
          else if (type === "check") {
            pair.check({ first: key, end: null }, Math.max(floor, pair.revision - n));
          } else if (pair.revision - n > floor) {
            floor = pair.revision - n;
            pair.compact(floor, (n % 3) + 1);
          }
        }
        pair.check(everyKey, pair.revision);
      }),
      { numRuns: 300 },
    );
  });

  test("stays right while its tree grows to several levels and shrinks to nothing", () => {
    const pair = new IndexPair();
    const random = new Prng(42);
    const some = () => Uint8Array.of(random.below(40), random.below(256), random.below(2));
    for (let i = 0; i < 5000; i++) pair.put(some(), noLease);
    for (let i = 0; i < 10; i++) {
      const interval = { first: some(), end: random.chance(0.5) ? some() : null };
      pair.check(interval, pair.revision - random.below(3000));
    }
    for (let round = 0; round < 8; round++) {
      // Whole leaves and branches vanish at one place, single keys everywhere.
      const low = random.below(40);
      for (const { key } of pair.model.keys()) {
        const first = key[0] as number;
        const isHit = first >= low && first < low + 12;
        if (isHit || random.chance(0.2)) pair.deleteIfLive(key);
      }
      pair.compact(pair.revision, 100);
      pair.check({ first: some(), end: null }, pair.revision);
      for (let i = 0; i < 400; i++) pair.put(some(), noLease);
      pair.check(everyKey, pair.revision);
    }
    for (const { key } of pair.model.keys()) pair.deleteIfLive(key);
    pair.put(Uint8Array.of(1), noLease);
    pair.compact(pair.revision, 1000);
    pair.deleteIfLive(Uint8Array.of(1));
    pair.put(Uint8Array.of(2), noLease);
    pair.compact(pair.revision, 1000);
    pair.check(everyKey, pair.revision);
    expect(pair.model.keys()).toHaveLength(1);
    pair.deleteIfLive(Uint8Array.of(2));
    pair.revision++;
    pair.compact(pair.revision, 1000);
    expect(pair.model.keys()).toHaveLength(0);
    pair.put(Uint8Array.of(3), noLease);
    pair.check(everyKey, pair.revision);
  });

  test("digest depends on the live keys alone, not on how they came about", () => {
    const one = new TreeKeyIndex();
    const other = new TreeKeyIndex();
    const value = Uint8Array.of(1, 2, 3, 4, 5);
    const [a, b, c] = ["a", "b", "c"].map((text) => new Uint8Array(Buffer.from(text)));
    if (a === undefined || b === undefined || c === undefined) throw new Error("three keys");
    expect(one.digest()).toBe(emptyDigest);
    one.put(a, { main: 2, sub: 0 }, noLease, value);
    one.put(b, { main: 3, sub: 0 }, noLease, value);
    one.put(c, { main: 4, sub: 0 }, noLease, value);
    one.tombstone(c, { main: 5, sub: 0 });
    other.put(b, { main: 3, sub: 0 }, noLease, value);
    expect(other.digest()).not.toBe(one.digest());
    other.put(a, { main: 2, sub: 0 }, noLease, value);
    expect(other.digest()).toBe(one.digest());

    other.put(a, { main: 6, sub: 0 }, noLease, value);
    one.put(a, { main: 6, sub: 0 }, "1" as LeaseId, value);
    expect(other.digest()).not.toBe(one.digest());
    for (const index of [one, other]) {
      index.tombstone(a, { main: 7, sub: 0 });
      index.tombstone(b, { main: 7, sub: 1 });
      expect(index.digest()).toBe(emptyDigest);
    }
  });

  test("restoring changes and values gives the same index", () => {
    const pair = new IndexPair();
    const random = new Prng(9);
    for (let i = 0; i < 300; i++) {
      const key = Uint8Array.of(random.below(30));
      if (random.chance(0.3)) pair.deleteIfLive(key);
      else pair.put(key, noLease);
    }
    const restored = new TreeKeyIndex();
    const all = pair.model
      .keys()
      .flatMap(({ key, changes }) => changes.map((change) => ({ key, change })))
      .toSorted((left, right) => left.change.main - right.change.main);
    for (const { key, change } of all) restored.restoreChange(key, change, change.meta);
    for (const { key } of pair.model.live(everyKey, pair.revision)) restored.restoreValue(key, key);
    expect(restored.keyCount()).toBe(pair.index.keyCount());
    expect(restored.digest()).toBe(pair.index.digest());
    for (let revision = 1; revision <= pair.revision; revision++) {
      expect(restored.countAt(everyKey, revision)).toBe(pair.index.countAt(everyKey, revision));
    }
  });
});

test("KeyRecord.compact keeps a tombstone written exactly at the revision", () => {
  const put = { createRevision: 2, modRevision: 2, version: 1, lease: noLease };
  const forgottenAt = (revision: number) => {
    const record = new KeyRecord(Uint8Array.of(1));
    record.change({ main: 2, sub: 0 }, put);
    record.change({ main: 5, sub: 0 }, null);
    const forgotten: string[] = [];
    const result = record.compact(revision, 10, (at) => forgotten.push(placeText(at)));
    return { forgotten, isGone: result?.isGone };
  };
  expect(forgottenAt(4)).toEqual({ forgotten: [], isGone: false });
  expect(forgottenAt(5)).toEqual({ forgotten: ["2.0"], isGone: false });
  expect(forgottenAt(6)).toEqual({ forgotten: ["2.0", "5.0"], isGone: true });
});

test("KeyTree.remove refuses a key that is live", () => {
  const tree = new KeyTree();
  const record = tree.insert(new KeyRecord(Uint8Array.of(1)));
  record.change(
    { main: 2, sub: 0 },
    { createRevision: 2, modRevision: 2, version: 1, lease: noLease },
  );
  expect(() => tree.remove(record)).toThrow(/dead/);
});
