import * as fc from "fast-check";
import { expect, test } from "vitest";
import { OlderChanges } from "../../src/state/older-changes.ts";
import type { OlderChange } from "../../src/state/older-changes.ts";

const change = fc.record({
  // 0: a later change of the same command.
  distance: fc.oneof(
    { arbitrary: fc.nat(3), weight: 9 },
    { arbitrary: fc.nat(2 ** 40), weight: 1 },
  ),
  sub: fc.nat(300),
  isTombstone: fc.boolean(),
});
// Some hundreds, so that there are several blocks and parts of them.
const steps = fc.array(
  fc.oneof(
    fc.record({ pushed: fc.array(change, { minLength: 1, maxLength: 400, size: "max" }) }),
    fc.record({ forgottenMax: fc.nat(500) }),
  ),
  { minLength: 1, maxLength: 12 },
);

test("OlderChanges answers as a plain array does, whatever was pushed and forgotten", () => {
  fc.assert(
    fc.property(steps, fc.nat(2 ** 30), (steps, probe) => {
      const older = new OlderChanges();
      let model: OlderChange[] = [];
      let main = 2;
      for (const step of steps) {
        if ("pushed" in step) {
          for (const { distance, sub, isTombstone } of step.pushed) {
            main += distance;
            older.push({ main, sub, isTombstone });
            model.push({ main, sub, isTombstone });
          }
        } else {
          const count = Math.min(step.forgottenMax, model.length);
          const forgotten: unknown[] = [];
          older.forget(count, ({ main, sub }) => forgotten.push({ main, sub }));
          const gone = model.slice(0, count).map(({ main, sub }) => ({ main, sub }));
          expect(forgotten).toEqual(gone);
          model = model.slice(count);
        }
        expect(older.count()).toBe(model.length);
        for (const place of [0, probe % (model.length + 1), model.length - 1]) {
          const at = model[place];
          if (at === undefined) continue;
          expect(older.get(place)).toEqual(at);
          for (const revision of [at.main - 1, at.main, at.main + 1]) {
            const count = model.filter(({ main }) => main <= revision).length;
            expect(older.countUpTo(revision)).toBe(count);
          }
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("OlderChanges refuses what is not there", () => {
  const older = new OlderChanges();
  older.push({ main: 2, sub: 0, isTombstone: false });
  expect(() => older.get(1)).toThrow(/no such/);
  expect(() => older.forget(2, () => {})).toThrow(/more older changes/);
  expect(older.countUpTo(1)).toBe(0);
});
