// Deadlines against the plainest form of the same: a map that is searched whole.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LeaseId } from "../../src/base/ids.ts";
import { LeaseDeadlines } from "../../src/server/lease-deadlines.ts";

const id = (n: number) => String(n) as LeaseId;

describe("lease deadlines", () => {
  test("due gives each lease once, when its deadline has passed and not before", () => {
    const deadlines = new LeaseDeadlines(0);
    deadlines.set(id(1), 1500);
    expect(deadlines.due(1499, 10)).toEqual([]);
    expect(deadlines.due(1500, 10)).toEqual([id(1)]);
    expect(deadlines.due(9999, 10)).toEqual([]);
    expect(deadlines.size()).toBe(0);
  });

  test("set moves a deadline both ways", () => {
    const deadlines = new LeaseDeadlines(0);
    deadlines.set(id(1), 2000);
    deadlines.set(id(1), 5000);
    expect(deadlines.due(4000, 10)).toEqual([]);
    deadlines.set(id(1), 4500);
    expect(deadlines.get(id(1))).toBe(4500);
    expect(deadlines.due(4600, 10)).toEqual([id(1)]);
  });

  test("due leaves what is over its limit for the next look", () => {
    const deadlines = new LeaseDeadlines(0);
    for (let i = 1; i <= 5; i++) deadlines.set(id(i), 100 * i);
    expect(deadlines.due(1000, 2)).toHaveLength(2);
    expect(deadlines.due(1000, 2)).toHaveLength(2);
    expect(deadlines.due(1000, 2)).toHaveLength(1);
  });

  test("prune forgets what is not kept", () => {
    const deadlines = new LeaseDeadlines(0);
    for (let i = 1; i <= 4; i++) deadlines.set(id(i), 1000);
    deadlines.prune((lease) => lease === id(2));
    expect(deadlines.size()).toBe(1);
    expect(deadlines.due(2000, 10)).toEqual([id(2)]);
  });

  test("any course of sets, deletes and looks agrees with a searched map", () => {
    const lease = fc.integer({ min: 1, max: 5 });
    const step = fc.oneof(
      fc.record({ type: fc.constant("set" as const), lease, ms: fc.nat(8000) }),
      fc.record({ type: fc.constant("delete" as const), lease, ms: fc.constant(0) }),
      fc.record({ type: fc.constant("look" as const), lease, ms: fc.nat(3000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const deadlines = new LeaseDeadlines(0);
        const naive = new Map<LeaseId, number>();
        let now = 0;
        for (const { type, lease: n, ms } of steps) {
          if (type === "set") {
            deadlines.set(id(n), now + ms);
            naive.set(id(n), now + ms);
          } else if (type === "delete") {
            deadlines.delete(id(n));
            naive.delete(id(n));
          } else {
            now += ms;
            const due = [...naive].filter(([, at]) => at <= now).map(([key]) => key);
            for (const key of due) naive.delete(key);
            expect(deadlines.due(now, 100).sort()).toEqual(due.sort());
          }
        }
        expect(deadlines.size()).toBe(naive.size);
      }),
      { numRuns: 500 },
    );
  });
});
