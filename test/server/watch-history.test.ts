// Scans of the history: whole revisions, from one moment, within their limits.
import { beforeEach, describe, expect, test } from "vitest";
import { assert } from "../../src/base/assert.ts";
import { noLease } from "../../src/base/ids.ts";
import { TreeKeyIndex } from "../../src/state/key-index-tree.ts";
import { Mvcc } from "../../src/state/mvcc.ts";
import {
  compactionRowPrefix,
  historyRowPrefix,
  latestRowPrefix,
} from "../../src/state/mvcc-row.ts";
import { CheckedStore } from "../../src/store/checked-store.ts";
import { MemoryBackend } from "../../src/store/memory-backend.ts";
import { WatchHistory } from "../../src/server/watch-history.ts";
import { bytes } from "./watch-bench.ts";

const wide = { revisionsMax: 1000, bytesMax: 1 << 20 };
let store: CheckedStore;
let mvcc: Mvcc;
let history: WatchHistory;

beforeEach(async () => {
  const opening = await CheckedStore.open(new MemoryBackend(), {
    indexedPrefixes: [latestRowPrefix, historyRowPrefix, compactionRowPrefix],
    summedPrefixes: [],
    journalSpanBytes: 1 << 20,
  });
  assert(opening.type === "open", "an empty store opens");
  store = opening.store;
  mvcc = new Mvcc({ store, index: new TreeKeyIndex() }, { removedRevision: -1 });
  history = new WatchHistory({ reader: mvcc, store });
});

function write(...keys: string[]): void {
  const changes = mvcc.begin();
  for (const key of keys) changes.put(bytes(key), bytes("v"), noLease);
  changes.end();
  commit();
}

function commit(): void {
  const { index, term } = store.applied;
  store.commit({ index: index + 1, term, ...mvcc.summary() });
}

async function scanned(first: number, last: number, limits = wide): Promise<string[]> {
  const revisions = await history.scan(first, last, limits);
  return revisions.map(({ revision, events }) => `${revision}:${events.length}`);
}

describe("WatchHistory.scan", () => {
  test("gives whole revisions between its ends", async () => {
    write("a");
    write("a", "b", "c");
    write("b");
    write("c");
    expect(await scanned(3, 4)).toEqual(["3:3", "4:1"]);
  });

  test("begins with the empty revision 1", async () => {
    expect(await scanned(1, 1)).toEqual(["1:0"]);
    await history.release();
    write("a");
    expect(await scanned(1, 2)).toEqual(["1:0", "2:1"]);
  });

  test("ends at its limits, but not inside a revision", async () => {
    for (let i = 0; i < 5; i++) write("a", "b", "c", "d");
    expect(await scanned(2, 6, { ...wide, revisionsMax: 2 })).toEqual(["2:4", "3:4"]);
    await history.release();
    for (const bytesMax of [1, 40, 60, 100]) {
      const revisions = await scanned(2, 6, { ...wide, bytesMax });
      expect(revisions.length).toBeGreaterThan(0);
      expect(revisions.length).toBeLessThan(5);
      expect(revisions.every((revision) => revision.endsWith(":4"))).toBe(true);
    }
  });

  test("sees one moment, until a scan needs a later one", async () => {
    for (let i = 0; i < 4; i++) write("a");
    const first = history.scan(2, 3, wide);
    write("a");
    assert(mvcc.compact(6) === null, "the revision can be compacted");
    commit();
    while (mvcc.compactStep(100));
    await store.flush();
    expect((await first).map(({ revision }) => revision)).toEqual([2, 3]);
    expect(await scanned(6, 6)).toEqual(["6:1"]);
    await expect(history.scan(5, 6, wide)).rejects.toThrow("below the compact revision");
  });

  test("holds no view after release", async () => {
    write("a");
    expect(await scanned(2, 2)).toEqual(["2:1"]);
    await history.release();
    await history.release();
    expect(await scanned(2, 2)).toEqual(["2:1"]);
  });
});
