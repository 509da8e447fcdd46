import { cp, rm } from "node:fs/promises";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { noLease } from "../../src/base/ids.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { Prng } from "../../src/base/prng.ts";
import { RangeRequest } from "../../src/proto/etcdserverpb/kv.ts";
import { openOrRebuild, openState } from "../../src/server/open-state.ts";
import { latestRowKey } from "../../src/state/mvcc-row.ts";
import type { BackendOperation } from "../../src/store/backend.ts";
import { envelope, formatKey } from "../../src/store/layout.ts";
import { LeveldbPlace } from "../../src/store/leveldb-backend.ts";
import { MemoryBackend, MemoryPlace } from "../../src/store/memory-backend.ts";
import { textOf } from "../../src/store/overlay.ts";
import { HeldPlace } from "../store/held-place.ts";
import { filesOf, flipBit, freshDirectory } from "../store/leveldb-directory.ts";
import { openPlace, StateDriver, steps } from "./state-driver.ts";

const everything = RangeRequest.fromPartial({ key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) });

function key(n: number): Uint8Array {
  return new Uint8Array(Buffer.from(`key/${String(n).padStart(5, "0")}`));
}

function writeSome(driver: StateDriver, random: Prng, count: number): void {
  for (let i = 0; i < count; i++) {
    const value = new Uint8Array(random.below(300)).fill(random.below(256));
    if (random.chance(0.15)) {
      const rangeEnd = new Uint8Array(0);
      driver.write([{ type: "delete", key: key(random.below(200)), rangeEnd }]);
    } else {
      driver.write([{ type: "put", key: key(random.below(200)), value, lease: noLease }]);
    }
  }
}

/** 60 commands in batches of a few, compacted in the middle, with nothing left to remove. */
async function writtenInBatches(place: HeldPlace): Promise<void> {
  const driver = await StateDriver.open(place);
  const random = new Prng(3);
  for (let i = 0; i < 20; i++) {
    writeSome(driver, random, 3);
    if (i === 10) driver.compact(12);
    if (i === 12) while (driver.state().mvcc.compactStep(5));
    await driver.state().store.flush();
  }
}

async function rebuiltFrom(batches: readonly (readonly BackendOperation[])[]) {
  const backend = new MemoryBackend();
  for (const batch of batches) await backend.write(batch);
  return backend;
}

describe("openState", () => {
  test("agrees with the naive model through writes, compactions, flushes and crashes", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (run) => {
        const driver = await StateDriver.open(new MemoryPlace());
        for (const step of run) await driver.step(step);
        await driver.restart();
        await driver.state().store.flush();
        await driver.restart();
        driver.expectRange(everything);
      }),
      { numRuns: 300 },
    );
  });

  test("finds in LevelDB what was flushed, and the log gives the rest", async () => {
    const place = new HeldPlace(new LeveldbPlace(await freshDirectory()));
    const driver = await StateDriver.open(place);
    const random = new Prng(7);
    for (let round = 0; round < 5; round++) {
      writeSome(driver, random, 300);
      if (round === 2) driver.compact(150);
      if (round === 3) while (driver.state().mvcc.compactStep(50));
      await driver.state().store.flush();
      writeSome(driver, random, 50);
      await place.crash();
      await driver.restart();
      driver.expectRange(everything);
    }
    await place.crash();
    await place.wipe();
  });

  test("opens what any number of whole batches left", async () => {
    const place = new HeldPlace(new MemoryPlace());
    await writtenInBatches(place);
    let index = 0;
    for (let count = 0; count <= place.batches.length; count++) {
      const opening = await openState(await rebuiltFrom(place.batches.slice(0, count)));
      if (opening.type !== "open") throw new Error(JSON.stringify(opening));
      expect(opening.state.store.applied.index).toBeGreaterThanOrEqual(index);
      ({ index } = opening.state.store.applied);
    }
    expect(index).toBe(61);
  });

  test("finds every batch that is missing before the last", async () => {
    const place = new HeldPlace(new MemoryPlace());
    await writtenInBatches(place);
    for (let missing = 0; missing < place.batches.length - 1; missing++) {
      const opening = await openState(await rebuiltFrom(place.batches.toSpliced(missing, 1)));
      expect(opening, `batch ${missing}`).toMatchObject({ type: "damaged" });
    }
  });

  test("finds every row that is missing, and every bit that is flipped", async () => {
    const place = new HeldPlace(new MemoryPlace());
    await writtenInBatches(place);
    const { rows } = (await rebuiltFrom(place.batches)).image();
    expect(rows.size).toBeGreaterThan(100);
    const random = new Prng(5);
    for (const [text, row] of rows) {
      const without = new Map(rows);
      without.delete(text);
      const missing = await openState(new MemoryBackend({ rows: without, damage: null }));
      expect(missing, `without ${JSON.stringify(text)}`).toMatchObject({ type: "damaged" });

      const value = row.value.slice();
      const at = random.below(value.length);
      value[at] = (value[at] as number) ^ (1 << random.below(8));
      const flipped = new Map(rows).set(text, { key: row.key, value });
      const opening = await openState(new MemoryBackend({ rows: flipped, damage: null }));
      expect(opening, `flipped ${JSON.stringify(text)}`).toMatchObject({ type: "damaged" });
    }
  });

  test("never opens a LevelDB directory with a flipped bit to anything but its content", async () => {
    const small = { writeBufferBytes: 64 * 1024, cacheBytes: 1024 * 1024 };
    const directory = await freshDirectory();
    const place = new HeldPlace(new LeveldbPlace(directory, small));
    const driver = await StateDriver.open(place);
    const random = new Prng(11);
    for (let i = 0; i < 40; i++) {
      writeSome(driver, random, 25);
      await driver.state().store.flush();
    }
    const { digest } = driver.state().mvcc.summary();
    await place.crash();
    let damaged = 0;
    const files = await filesOf(directory, /\.(ldb|log)$/);
    expect(files.some((path) => path.endsWith(".ldb"))).toBe(true);
    for (let i = 0; i < 24; i++) {
      const copy = `${directory}-copy`;
      await cp(directory, copy, { recursive: true });
      await flipBit(random.pick(files).replace(directory, copy), random.below(1000) / 1000);
      const held = new HeldPlace(new LeveldbPlace(copy, small));
      const backend = await held.open();
      const opening = backend.type === "open" ? await openState(backend.backend) : backend;
      if (opening.type === "damaged") damaged++;
      else if (opening.type === "open") expect(opening.state.mvcc.summary().digest).toBe(digest);
      if (opening.type === "open") await held.crash();
      await rm(copy, { recursive: true });
    }
    expect(damaged).toBeGreaterThan(12);
    await place.wipe();
  });

  test("refuses a newer format without calling it damage", async () => {
    const place = new MemoryPlace();
    await openPlace(place);
    const backend = new MemoryBackend(place.image());
    const value = envelope(formatKey, Uint8Array.of(9));
    await backend.write([{ type: "put", key: formatKey, value }]);
    expect(await openState(backend)).toEqual({ type: "newerFormat", version: 9 });
  });
});

describe("openOrRebuild", () => {
  test("starts empty after damage that was found while running", async () => {
    const place = new MemoryPlace();
    const driver = await StateDriver.open(place);
    writeSome(driver, new Prng(1), 40);
    driver.write([{ type: "put", key: key(1), value: key(2), lease: noLease }]);
    await driver.state().store.flush();

    // One bit of one row flips below the running process.
    const text = textOf(latestRowKey(key(1)));
    const { rows } = place.image();
    const row = rows.get(text);
    row?.value.set([(row.value.at(-1) ?? 0) ^ 1], row.value.length - 1);
    expect(() => driver.state().mvcc.read(key(1))).toThrow(AssertionError);

    const opening = await openOrRebuild({ place, logger: silentLogger });
    expect(opening.type === "open" && opening.state.store.applied.index).toBe(0);
    await driver.restart();
    driver.expectRange(everything);
  });
});
