// Majorities: over values (how far does a majority reach?) and over votes (who said yes, by name,
// so that a doubled reply counts once). Only voters are ever counted; learners have no place here.
import { assert } from "../base/assert.ts";
import type { MemberId } from "../base/ids.ts";

export type VoteResult = "won" | "lost" | "pending";

export function quorumSize(voterCount: number): number {
  return Math.floor(voterCount / 2) + 1;
}

/** The highest value that a majority has reached, of one value for each voter. Sorts `values`. */
export function quorumValue(values: number[]): number {
  assert(values.length > 0, "a majority of no voters");
  // By insertion: voters are few, and nearly always in order.
  for (let i = 1; i < values.length; i++) {
    const value = values[i] as number;
    let slot = i;
    while (slot > 0 && (values[slot - 1] as number) < value) {
      values[slot] = values[slot - 1] as number;
      slot--;
    }
    values[slot] = value;
  }
  return values[quorumSize(values.length) - 1] as number;
}

/** `votes`: what each voter said first. Members that are no voters do not count. */
export function voteResult(
  voters: readonly MemberId[],
  votes: ReadonlyMap<MemberId, boolean>,
): VoteResult {
  let granted = 0;
  let refused = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === true) granted++;
    else if (vote === false) refused++;
  }
  const quorum = quorumSize(voters.length);
  if (granted >= quorum) return "won";
  return voters.length - refused < quorum ? "lost" : "pending";
}
