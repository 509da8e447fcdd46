import * as fc from "fast-check";
import { expect, test } from "vitest";
import { EntryMap, type EntryPlace } from "../../src/wal/entry-map.ts";

const place = fc.record({ segment: fc.nat(0xffffffff), offset: fc.nat(0xffffffff) });
const step = fc.oneof(
  fc.record({ push: place, count: fc.integer({ min: 1, max: 20_000 }) }),
  fc.record({ truncate: fc.double({ min: 0, max: 0.999, noNaN: true }) }),
);

test("EntryMap agrees with an array, over blocks and truncations", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e9 }), fc.array(step), (first, steps) => {
      const map = new EntryMap(first);
      const model: EntryPlace[] = [];
      for (const one of steps) {
        if ("push" in one) {
          for (let i = 0; i < one.count; i++) {
            const next = { ...one.push, offset: (one.push.offset + i) % 2 ** 32 };
            map.push(next);
            model.push(next);
          }
        } else if (model.length > 0) {
          const length = Math.floor(model.length * one.truncate);
          map.truncate(first + length);
          model.length = length;
        }
      }
      expect(map.last()).toBe(first + model.length - 1);
      for (const at of [0, 16_383, 16_384, Math.floor(model.length / 2), model.length - 1]) {
        if (at >= 0 && at < model.length) expect(map.get(first + at)).toEqual(model[at]);
      }
    }),
    { numRuns: 30 },
  );
});

test("EntryMap refuses indexes that it does not have", () => {
  const map = new EntryMap(5);
  map.push({ segment: 1, offset: 0 });
  for (const index of [4, 6]) {
    expect(() => map.get(index)).toThrow("no such entry in the log");
    expect(() => map.truncate(index)).toThrow("truncation outside the log");
  }
});
