// Catching up under load: turns between streams, scans shared by watchers, and what is held for
// clients that never read.
import { describe, expect, test } from "vitest";
import { watchHubDefaults } from "../../src/server/watch-hub.ts";
import type { CatchUpLimits } from "../../src/server/watch-catch-up.ts";
import { bytes, WatchBench } from "./watch-bench.ts";

const limits: CatchUpLimits = {
  revisionsMax: watchHubDefaults.scanRevisionsMax,
  bytesMax: watchHubDefaults.scanBytesMax,
  groupMax: watchHubDefaults.scanWatchersMax,
  responseBytesMax: watchHubDefaults.responseBytesMax,
};

describe("CatchUp", () => {
  test("a stream with very many watchers delays another stream by few rounds (etcd #17529)", async () => {
    const watcherCount = 20_000;
    const bench = await WatchBench.open();
    for (let i = 0; i < 5; i++) bench.write([["hot", String(i)]]);
    const crowd = bench.openReader();
    for (let i = 0; i < watcherCount; i++)
      bench.create(crowd, { key: bytes("hot"), startRevision: 2 });
    const single = bench.openReader();
    bench.create(single, { key: bytes("hot"), startRevision: 2 });
    expect(single.sink.read()).toHaveLength(1);
    let rounds = 0;
    while (single.sink.queue.length === 0) {
      await bench.turn();
      rounds += 1;
    }
    expect(rounds).toBeLessThanOrEqual(3);
    const served = crowd.sink.queue.length - watcherCount;
    expect(served).toBeLessThanOrEqual(2 * limits.groupMax);
    await bench.settle();
    expect(crowd.sink.queue).toHaveLength(2 * watcherCount);
  });

  test("watchers that stalled together share one scan of the store", async () => {
    const bench = await WatchBench.open({ recentRevisionsMax: 1 });
    for (let i = 0; i < 50; i++) bench.write([["hot", String(i)]]);
    const before = bench.pinCount;
    const readers = Array.from({ length: 200 }, () => bench.openReader());
    for (const reader of readers) bench.create(reader, { key: bytes("hot"), startRevision: 2 });
    await bench.settle();
    for (const { sink } of readers) {
      const events = sink.read().flatMap((response) => response.events);
      expect(events).toHaveLength(50);
    }
    expect(bench.pinCount - before).toBeLessThanOrEqual(2);
  });

  test("clients that never read hold one response each, however much passes", async () => {
    const bench = await WatchBench.open();
    const roomBytes = 1000;
    const readers = Array.from({ length: 100 }, () => bench.openReader(roomBytes));
    for (const [i, reader] of readers.entries()) {
      // Half of them begin with history.
      bench.create(reader, { key: bytes("hot"), startRevision: i % 2 });
    }
    const valueBytes = 200;
    for (let i = 0; i < 500; i++) {
      bench.write([["hot", "x".repeat(valueBytes)]]);
      if (i % 50 === 0) await bench.settle();
    }
    await bench.settle();
    const responseBytesMax = limits.responseBytesMax + valueBytes + 100;
    for (const { sink } of readers) {
      expect(sink.queuedBytesMost).toBeLessThan(roomBytes + responseBytesMax);
    }
    // And lose nothing by it.
    for (const { sink } of readers) {
      let count = 0;
      do {
        for (const { events } of sink.read()) count += events.length;
        await bench.settle();
      } while (sink.queue.length > 0);
      expect(count).toBe(500);
    }
  });
});
