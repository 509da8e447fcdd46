// The small parts of the loop: time, disk, log and apply, each against its own law.
import { describe, expect, test } from "vitest";
import { silentLogger } from "../../src/base/logger.ts";
import type { Entry } from "../../src/raft/entry.ts";
import type { Ready } from "../../src/raft/ready.ts";
import { Applier } from "../../src/server/applier.ts";
import { Compaction } from "../../src/server/compaction.ts";
import { DiskWatch } from "../../src/server/disk-watch.ts";
import { LogPump } from "../../src/server/log-pump.ts";
import { openState } from "../../src/server/open-state.ts";
import { refuseForeignState, restoreRaft } from "../../src/server/restore-raft.ts";
import { StartError } from "../../src/server/start-error.ts";
import { TickCounter } from "../../src/server/tick-counter.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import { restoreMachine } from "../../src/state/machine.ts";
import type { Machine } from "../../src/state/machine.ts";
import type { Backend } from "../../src/store/backend.ts";
import type { CheckedStore } from "../../src/store/checked-store.ts";
import { MemoryBackend } from "../../src/store/memory-backend.ts";
import { MemoryDisk, MemoryLog } from "../../src/wal/memory-log.ts";
import { FakeClock } from "../sim/fake-clock.ts";
import { identity, options, own } from "./small-raft.ts";

function putEntry(index: number, value = new Uint8Array(0)): Entry {
  const put = { lease: "0", prevKv: false, ignoreValue: false, ignoreLease: false };
  const request = { $case: "put" as const, value: { key: new Uint8Array([1]), value, ...put } };
  const command = Command.encode({ request, proposal: undefined }).finish();
  return { term: 1, index, kind: "normal", data: command };
}

function memoryLog(clock: FakeClock, syncDelayMs: () => number): MemoryLog {
  const { cluster, member, store } = identity;
  const configuration = { voters: [own], learners: [] };
  const disk = new MemoryDisk({ cluster, member, store, configuration });
  return new MemoryLog(disk, { clock, syncDelayMs });
}

/** A backend whose writes end when the test says. */
function heldBackend(): { backend: Backend; release: () => void; isWriting: () => boolean } {
  const memory = new MemoryBackend();
  let release: (() => void) | null = null;
  let isHeld = false;
  const backend: Backend = {
    getSync: (key) => memory.getSync(key),
    snapshot: () => memory.snapshot(),
    diskBytes: () => memory.diskBytes(),
    markDamaged: (reason) => memory.markDamaged(reason),
    close: () => memory.close(),
    async write(operations) {
      if (isHeld) await new Promise<void>((resolve) => (release = resolve));
      release = null;
      await memory.write(operations);
    },
  };
  isHeld = true;
  return {
    backend,
    release: () => {
      if (release === null) isHeld = false;
      else release();
    },
    isWriting: () => release !== null,
  };
}

async function machineOver(backend: Backend): Promise<{ machine: Machine; store: CheckedStore }> {
  const opening = await openState(backend);
  if (opening.type !== "open") throw new Error(opening.type);
  const member = { id: own, name: "m0", peerUrls: [], isLearner: false };
  return { machine: restoreMachine(opening.state, [member]), store: opening.state.store };
}

describe("tick counter", () => {
  test("take counts whole ticks and keeps the rest", () => {
    const ticks = new TickCounter(0, { tickMs: 20, creditMax: 5 });
    expect([19, 20, 59, 60, 100].map((now) => ticks.take(now))).toEqual([0, 1, 1, 1, 2]);
  });

  test("take counts a late tick only at the second look, and a pause hardly at all", () => {
    const ticks = new TickCounter(0, { tickMs: 20, creditMax: 5 });
    expect(ticks.take(5000)).toBe(0);
    expect(ticks.take(5001)).toBe(5);
    expect(ticks.take(5020)).toBe(0);
    expect(ticks.take(5021)).toBe(1);
  });
});

describe("disk watch", () => {
  const limits = { electionMs: 1000, hangMs: 5000 };

  test("observe tells half, full and hung by the age of the oldest sync", () => {
    const watch = new DiskWatch(limits);
    const seen = [400, 500, 1000, 5000, 0].map((age) => watch.observe(age, 10_000));
    expect(seen).toEqual(["none", "half", "full", "hung", "none"]);
  });

  test("observe lets no age count that passed while the process stood still", () => {
    const watch = new DiskWatch(limits);
    expect(watch.observe(60_000, 100)).toBe("none");
    expect(watch.observe(60_100, 100)).toBe("none");
  });
});

describe("log pump", () => {
  test("takeSynced gives what is durable, in order, with the messages that waited for it", async () => {
    const clock = new FakeClock();
    let wakes = 0;
    const log = memoryLog(clock, () => 10);
    const pump = new LogPump({ log, wake: () => (wakes += 1), fatal: () => expect.unreachable() });
    for (const sync of [1, 2]) {
      const append = { hardState: null, entries: [putEntry(sync)] };
      const ready = { sync, messagesAfterSync: [], append } as Partial<Ready> as Ready;
      pump.write(append, ready);
    }
    expect(pump.takeSynced()).toEqual([]);
    clock.advance(10);
    await Promise.resolve();
    expect(pump.takeSynced().map(({ sync }) => sync)).toEqual([1]);
    clock.advance(10);
    await Promise.resolve();
    expect(pump.takeSynced().map(({ sync }) => sync)).toEqual([2]);
    expect(wakes).toBe(2);
  });

  test("takeLoaded brings back entries together with the wish for them", async () => {
    const clock = new FakeClock();
    const log = memoryLog(clock, () => 0);
    const pump = new LogPump({ log, wake: () => {}, fatal: () => expect.unreachable() });
    void log.append({ hardState: null, entries: [putEntry(1), putEntry(2)] });
    clock.advance(1);
    const wanted = { first: 1, last: 2, bytesMax: 1, purpose: "apply" as const };
    pump.load([wanted]);
    await Promise.resolve();
    await Promise.resolve();
    const [loaded] = pump.takeLoaded();
    expect(loaded?.wanted).toBe(wanted);
    expect(loaded?.entries).toHaveLength(1);
  });
});

describe("restore raft", () => {
  test("restoreRaft takes the uncommitted end of the log, and the term before it", async () => {
    const clock = new FakeClock();
    const { cluster, member, store } = identity;
    const configuration = { voters: [own], learners: [] };
    const disk = new MemoryDisk({ cluster, member, store, configuration });
    const entries = [1, 2, 3, 4, 5].map((index) => ({ ...putEntry(index), term: index }));
    disk.write({ hardState: { term: 5, vote: null, commit: 3 }, entries });
    const log = new MemoryLog(disk, { clock, syncDelayMs: () => 0 });
    const restored = await restoreRaft(log, 2);
    expect(restored.tail.map(({ index }) => index)).toEqual([4, 5]);
    expect(restored).toMatchObject({ termBeforeTail: 3, firstIndex: 1, applied: 2 });
    const whole = await restoreRaft(log, 5);
    expect(whole.tail.map(({ index }) => index)).toEqual([5]);
  });

  test("refuseForeignState takes the state of this log, and no other", async () => {
    const { cluster, member, store } = identity;
    const configuration = { voters: [own], learners: [] };
    const disk = new MemoryDisk({ cluster, member, store, configuration });
    const entries = [1, 2, 3].map((index) => ({ ...putEntry(index), term: index }));
    disk.write({ hardState: { term: 3, vote: null, commit: 3 }, entries });
    const log = new MemoryLog(disk, { clock: new FakeClock(), syncDelayMs: () => 0 });
    const check = (term: number, index: number) =>
      refuseForeignState(log, { term, index }, "data/member");
    for (const id of [0, 1, 2, 3]) await check(id, id);
    await expect(check(4, 4)).rejects.toThrow(StartError);
    await expect(check(4, 4)).rejects.toThrow(
      "data/member/state was not made from data/member/wal: it has applied entry 4 of term 4, " +
        "and the log ends at 3; put both back from the same copy, or, if wal",
    );
    await expect(check(1, 2)).rejects.toThrow("and that entry of the log is of term 2; put both");
  });

  test("restoreRaft of an empty log has no tail", async () => {
    const restored = await restoreRaft(
      memoryLog(new FakeClock(), () => 0),
      0,
    );
    expect(restored).toMatchObject({ tail: [], termBeforeTail: 0, applied: 0 });
  });
});

describe("applier", () => {
  test("run stops at a full overlay, and goes on when its batch is written", async () => {
    const { backend, release, isWriting } = heldBackend();
    release();
    const { machine, store } = await machineOver(backend);
    const few = { ...options, overlayBytesMax: 5000 };
    const applier = new Applier({ machine, store, clock: new FakeClock() }, few);
    const value = new Uint8Array(1000);
    applier.add(Array.from({ length: 20 }, (_, i) => putEntry(i + 1, value)));
    const first = applier.run().length;
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(20);
    expect(applier.canRun()).toBe(false);
    const flushing = applier.flush();
    expect(flushing).not.toBeNull();
    expect(applier.flush()).toBeNull();
    await flushing;
    expect(isWriting()).toBe(false);
    expect(applier.canRun()).toBe(true);
    expect(applier.run()[0]?.entry.index).toBe(first + 1);
  });

  test("run ends a slice when its time is over", async () => {
    const { machine, store } = await machineOver(new MemoryBackend());
    const clock = new FakeClock();
    const slow = { now: () => (clock.advance(6), clock.now()) };
    const applier = new Applier(
      { machine, store, clock: { ...slow, after: () => clock.after(0, () => {}), soon: () => {} } },
      options,
    );
    applier.add(Array.from({ length: 100 }, (_, i) => putEntry(i + 1)));
    expect(applier.run()).toHaveLength(32);
    expect(applier.applied()).toBe(32);
    expect(applier.canRun()).toBe(true);
  });
});

describe("compaction", () => {
  test("done waits for the slices, and ends at its deadline or with the node", async () => {
    const { machine } = await machineOver(new MemoryBackend());
    const clock = new FakeClock();
    const compaction = new Compaction({ mvcc: machine.mvcc, clock }, options);
    const signal = new AbortController().signal;
    const waiting = compaction.done({ deadline: Infinity, signal });
    const late = compaction.done({ deadline: 5, signal }).catch(String);
    clock.advance(10);
    compaction.sweep();
    expect(await late).toMatch(/request timed out/);
    compaction.step();
    await waiting;
    expect(compaction.isUnderWay()).toBe(false);
    compaction.begin();
    const stopped = compaction.done({ deadline: Infinity, signal }).catch(String);
    compaction.stop();
    expect(await stopped).toMatch(/server stopped/);
    expect(silentLogger).toBeDefined();
  });
});
