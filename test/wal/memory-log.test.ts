import { expect, test } from "vitest";
import type { StoreId } from "../../src/base/ids.ts";
import { MemoryDisk, MemoryLog } from "../../src/wal/memory-log.ts";
import {
  cluster,
  configuration,
  contentOf,
  describeLog,
  entries,
  idsOf,
  member,
} from "../contract/log.ts";
import { FakeClock } from "../sim/fake-clock.ts";

const store = "ffeeddccbbaa99887766554433221100" as StoreId;

function newDisk(): MemoryDisk {
  return new MemoryDisk({ cluster, member, store, configuration });
}

async function finishOn<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const settled = promise.finally(() => (isSettled = true));
  for (let turn = 0; turn < 1_000 && !isSettled; turn++) {
    clock.advance(1);
    await Promise.resolve();
  }
  return settled;
}

describeLog("MemoryLog", () => {
  const clock = new FakeClock();
  const disk = newDisk();
  return {
    open: () => Promise.resolve(new MemoryLog(disk, { clock, syncDelayMs: () => 2 })),
    finish: (promise) => finishOn(clock, promise),
  };
});

test("MemoryLog gathers appends given during a sync into the next one", async () => {
  const clock = new FakeClock();
  let syncs = 0;
  const syncDelayMs = () => {
    syncs++;
    return 10;
  };
  const log = new MemoryLog(newDisk(), { clock, syncDelayMs });
  const appends = entries(1, 100).map((one) => log.append({ hardState: null, entries: [one] }));
  await finishOn(clock, Promise.all(appends));
  expect(syncs).toBe(2);
});

test("MemoryLog.syncAgeMs is the age of the oldest append that is not synced", () => {
  const clock = new FakeClock();
  const log = new MemoryLog(newDisk(), { clock, syncDelayMs: () => 100 });
  void log.append({ hardState: null, entries: entries(1, 1) });
  clock.advance(30);
  void log.append({ hardState: null, entries: entries(2, 2) });
  clock.advance(30);
  expect(log.syncAgeMs()).toBe(60);
  clock.advance(50);
  expect(log.syncAgeMs()).toBe(80);
});

test("MemoryLog.crash drops what was not synced, and the running sync's batch as it is told", async () => {
  for (const keepSyncing of [false, true]) {
    const clock = new FakeClock();
    const disk = newDisk();
    const log = new MemoryLog(disk, { clock, syncDelayMs: () => 10 });
    await finishOn(clock, log.append({ hardState: null, entries: entries(1, 2) }));
    void log.append({ hardState: null, entries: entries(3, 3) });
    void log.append({ hardState: null, entries: entries(4, 4) });
    clock.advance(5);
    log.crash(keepSyncing);
    clock.advance(100);
    const again = new MemoryLog(disk, { clock, syncDelayMs: () => 10 });
    expect(idsOf(await contentOf(again))).toBe(keepSyncing ? "1:1 1:2 1:3" : "1:1 1:2");
    expect(again.recovered.identity.start).toBe(2);
    expect(clock.timerCount()).toBe(0);
  }
});
