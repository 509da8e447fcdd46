import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import type { Clock } from "../../src/base/clock.ts";
import { noLease } from "../../src/base/ids.ts";
import type { LeaseId } from "../../src/base/ids.ts";
import { Prng } from "../../src/base/prng.ts";
import { RangeRequest } from "../../src/proto/etcdserverpb/kv.ts";
import type { RangeResponse } from "../../src/proto/etcdserverpb/kv.ts";
import { readRange } from "../../src/server/range.ts";
import { latestRowKey } from "../../src/state/mvcc-row.ts";
import type { BackendPlace } from "../../src/store/backend.ts";
import { MemoryPlace } from "../../src/store/memory-backend.ts";
import { HeldPlace } from "../store/held-place.ts";
import { plain } from "../state/mvcc-model.ts";
import { StateDriver } from "./state-driver.ts";

// Runs what `soon` is given at once, so that only the backend's promises divide the work.
const clock: Clock = {
  now: () => 0,
  after: () => ({ cancel() {} }),
  soon: (run) => run(),
};

function key(n: number): Uint8Array {
  return new Uint8Array(Buffer.from(`k${String(n).padStart(4, "0")}`));
}

async function filled(place: BackendPlace): Promise<StateDriver> {
  const driver = await StateDriver.open(place);
  const random = new Prng(17);
  for (let i = 0; i < 2500; i++) {
    const target = key(random.below(1400));
    const value = new Uint8Array(random.below(4)).fill(random.below(4));
    const lease = random.chance(0.2) ? ("77" as LeaseId) : noLease;
    if (random.chance(0.1)) {
      driver.write([{ type: "delete", key: target, rangeEnd: new Uint8Array(0) }]);
    } else driver.write([{ type: "put", key: target, value, lease }]);
    if (i % 400 === 0) await driver.state().store.flush();
  }
  return driver;
}

async function answer(driver: StateDriver, request: RangeRequest): Promise<RangeResponse> {
  const { mvcc, store } = driver.state();
  const found = await readRange({ mvcc, store, clock }, request);
  if (typeof found === "string") throw new Error(found);
  return found;
}

const everything = { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };

describe("readRange", () => {
  test("answers as mvcc.range does, whatever the options, at any revision", async () => {
    const driver = await filled(new MemoryPlace());
    const { mvcc } = driver.state();
    const bound = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: mvcc.revision() }));
    const ends = fc.oneof(
      fc.constant(Uint8Array.of(0)),
      fc.constant(new Uint8Array(0)),
      fc.nat(1400).map(key),
    );
    const requests = fc.record({
      key: fc.nat(1400).map(key),
      rangeEnd: ends,
      limit: fc.oneof(fc.constant(0), fc.nat(40), fc.nat(2000)),
      revision: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: mvcc.revision() })),
      sortOrder: fc.constantFrom(0, 1, 2),
      sortTarget: fc.constantFrom(0, 1, 2, 3, 4),
      keysOnly: fc.boolean(),
      countOnly: fc.boolean(),
      minModRevision: bound,
      maxModRevision: bound,
      minCreateRevision: bound,
      maxCreateRevision: bound,
    });
    await fc.assert(
      fc.asyncProperty(requests, async (fields) => {
        const request = RangeRequest.fromPartial(fields);
        const expected = mvcc.range(request);
        if (typeof expected === "string") throw new Error(expected);
        const found = await answer(driver, request);
        expect(found.header).toEqual(expected.header);
        expect(JSON.stringify(plain(found))).toBe(JSON.stringify(plain(expected)));
      }),
      { numRuns: 150 },
    );
  });

  test("does not see what is applied while it reads", async () => {
    const driver = await filled(new MemoryPlace());
    const request = RangeRequest.fromPartial(everything);
    const before = driver.state().mvcc.range(request);
    const reading = answer(driver, request);
    for (let i = 0; i < 1400; i += 3) {
      driver.write([{ type: "put", key: key(i), value: key(i), lease: noLease }]);
    }
    driver.write([{ type: "delete", key: key(700), rangeEnd: Uint8Array.of(0) }]);
    await driver.state().store.flush();
    if (typeof before === "string") throw new Error(before);
    const found = await reading;
    expect(found.header).toEqual(before.header);
    expect(JSON.stringify(plain(found))).toBe(JSON.stringify(plain(before)));
  });

  test("refuses revisions that are compacted or to come", async () => {
    const driver = await filled(new MemoryPlace());
    const { mvcc, store } = driver.state();
    driver.compact(100);
    const at = (revision: number) =>
      readRange({ mvcc, store, clock }, RangeRequest.fromPartial({ ...everything, revision }));
    expect(await at(mvcc.revision() + 1)).toBe("futureRev");
    expect(await at(mvcc.compactRevision() - 1)).toBe("compacted");
    expect(await at(mvcc.compactRevision())).toMatchObject({ more: false });
  });

  test("is refused when compaction overtakes a walk through an older revision", async () => {
    const driver = await filled(new MemoryPlace());
    const { mvcc, store } = driver.state();
    const turns: (() => void)[] = [];
    const slow: Clock = { ...clock, soon: (run) => void turns.push(run) };
    const revision = mvcc.revision() - 500;
    const request = RangeRequest.fromPartial({ ...everything, revision });
    const reading = readRange({ mvcc, store, clock: slow }, request);
    expect(turns).toHaveLength(1);
    driver.compact(10);
    while (mvcc.compactStep(1000));
    turns[0]?.();
    expect(await reading).toBe("compacted");
  });

  test("stops the process when a row that the count includes is missing", async () => {
    const place = new HeldPlace(new MemoryPlace());
    const driver = await filled(place);
    const { mvcc, store } = driver.state();
    await store.flush();
    const one = RangeRequest.fromPartial({ ...everything, limit: 1 });
    const { kvs } = await answer(driver, one);
    const lost = latestRowKey(kvs[0]?.key ?? key(0));
    await place.backend().write([{ type: "del", key: lost }]);
    const request = RangeRequest.fromPartial(everything);
    await expect(readRange({ mvcc, store, clock }, request)).rejects.toThrow(AssertionError);
    expect(() => mvcc.range(one)).toThrow(AssertionError);
    expect(await place.open()).toMatchObject({ type: "damaged" });
  });
});
