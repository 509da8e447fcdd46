// The watcher index against a linear scan, and its cost with many intervals.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes } from "../../src/base/bytes.ts";
import { WatcherIndex } from "../../src/server/watcher-index.ts";
import type { WatchedKeys } from "../../src/server/watcher-index.ts";
import { bytes } from "./watch-bench.ts";

interface Numbered extends WatchedKeys {
  readonly id: number;
}

function covers({ key, end }: WatchedKeys, candidate: Uint8Array): boolean {
  if (end === undefined) return compareBytes(key, candidate) === 0;
  return compareBytes(key, candidate) <= 0 && (end === null || compareBytes(candidate, end) < 0);
}

const keyArbitrary = fc
  .array(fc.constantFrom(0, 1, 97, 98, 255), { maxLength: 3 })
  .map((parts) => Uint8Array.from(parts));

const keysArbitrary: fc.Arbitrary<WatchedKeys> = fc
  .record({
    key: keyArbitrary,
    end: fc.oneof(fc.constant(undefined), fc.constant(null), keyArbitrary),
  })
  .filter(({ key, end }) => end === undefined || end === null || compareBytes(key, end) < 0);

/** Adds, and (null) removals of the watcher whose number is drawn. */
const stepArbitrary = fc.oneof(
  { weight: 3, arbitrary: fc.record({ keys: keysArbitrary, removed: fc.constant(null) }) },
  { weight: 1, arbitrary: fc.record({ keys: fc.constant(null), removed: fc.nat() }) },
);

describe("WatcherIndex", () => {
  test("visit finds what a linear scan finds, once each", () => {
    fc.assert(
      fc.property(
        fc.array(stepArbitrary, { maxLength: 60 }),
        fc.array(keyArbitrary, { minLength: 1, maxLength: 10 }),
        (steps, candidates) => {
          const index = new WatcherIndex<Numbered>();
          const held: Numbered[] = [];
          steps.forEach(({ keys, removed }, id) => {
            if (keys !== null) {
              const watcher = { ...keys, id };
              held.push(watcher);
              index.add(watcher);
            } else if (held.length > 0) {
              const [gone] = held.splice(removed % held.length, 1);
              if (gone !== undefined) index.remove(gone);
            }
          });
          expect(index.size()).toBe(held.length);
          for (const candidate of candidates) {
            const found: number[] = [];
            index.visit(candidate, ({ id }) => found.push(id));
            const wanted = held.filter((watcher) => covers(watcher, candidate)).map(({ id }) => id);
            expect(found.toSorted((a, b) => a - b)).toEqual(wanted.toSorted((a, b) => a - b));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test("remove asserts that the watcher is there", () => {
    const index = new WatcherIndex<WatchedKeys>();
    const exact = { key: bytes("a"), end: undefined };
    const range = { key: bytes("a"), end: bytes("b") };
    expect(() => index.remove(exact)).toThrow("no watcher of this key");
    expect(() => index.remove(range)).toThrow("no watcher of this interval");
    index.add(exact);
    index.add(range);
    expect(() => index.remove({ ...exact })).toThrow("not in the index");
    expect(() => index.remove({ ...range })).toThrow("not in the index");
  });

  test("visit stays deep in the tree, not wide, with ordered arrivals", () => {
    const index = new WatcherIndex<WatchedKeys>();
    const name = (n: number) => bytes(String(n).padStart(6, "0"));
    for (let n = 0; n < 50_000; n++) index.add({ key: name(n), end: name(n + 1) });
    const hits: WatchedKeys[] = [];
    // A recursion as deep as the list is long would overflow the stack here.
    for (let n = 0; n < 50_000; n += 997) index.visit(name(n), (watcher) => hits.push(watcher));
    expect(hits).toHaveLength(51);
  });
});
