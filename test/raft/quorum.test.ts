// Majorities against a naive twin that counts by hand (openraft #1802: an optimised scan over
// unsorted progress committed with 2 of 5).
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import { quorumSize, quorumValue, voteResult } from "../../src/raft/quorum.ts";

function naiveQuorumValue(values: readonly number[]): number {
  const reached = values.filter(
    (value) => values.filter((other) => other >= value).length * 2 > values.length,
  );
  return Math.max(...reached);
}

test("quorumValue is the highest value that more than half have reached", () => {
  const values = fc.array(fc.nat(20), { minLength: 1, maxLength: 9 });
  fc.assert(
    fc.property(values, (given) => {
      expect(quorumValue([...given])).toBe(naiveQuorumValue(given));
    }),
    { numRuns: 2000 },
  );
});

test("voteResult is won by more than half of the voters and lost when that cannot be any more", () => {
  const ids = Array.from({ length: 9 }, (_, i) => String(i + 1) as MemberId);
  const votes = fc.dictionary(fc.constantFrom(...ids), fc.boolean());
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 7 }), votes, (count, cast) => {
      const voters = ids.slice(0, count);
      const yes = voters.filter((id) => cast[id] === true).length;
      const no = voters.filter((id) => cast[id] === false).length;
      const expected = yes * 2 > count ? "won" : (count - no) * 2 > count ? "pending" : "lost";
      expect(voteResult(voters, new Map(Object.entries(cast) as [MemberId, boolean][]))).toBe(
        expected,
      );
    }),
    { numRuns: 2000 },
  );
});

test("quorumSize of two clusters of one size always intersects", () => {
  for (let count = 1; count <= 9; count++) expect(quorumSize(count) * 2).toBeGreaterThan(count);
});
