// Each invariant bites: a healthy leader's state passes, and with one field broken it does not.
// What the calls below return or change is checked on the way.
import { expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import { tickElection, tickLeader } from "../../src/raft/election.ts";
import { checkState, checkStep, stepMark } from "../../src/raft/invariants.ts";
import { acknowledge, hasAfterSync, send, takeAfterSync } from "../../src/raft/outbox.ts";
import { handlePropose, propose } from "../../src/raft/proposals.ts";
import { isHardStateDurable, newState, outboxAfterSyncMax } from "../../src/raft/raft-state.ts";
import type { RaftState } from "../../src/raft/raft-state.ts";
import { askRead, failReads } from "../../src/raft/read-index.ts";
import { newReads } from "../../src/raft/reads-state.ts";
import { appendOwn, uncommittedBytes } from "../../src/raft/replication.ts";
import {
  becomeCandidate,
  becomeFollower,
  becomeLeader,
  becomePreCandidate,
  resetElectionTimer,
} from "../../src/raft/role.ts";
import { hasReady, takeReady } from "../../src/raft/take-ready.ts";
import { limitsDefault } from "./world.ts";

const one = "1" as MemberId;
const two = "2" as MemberId;
const three = "3" as MemberId;

function follower(limits: Partial<typeof limitsDefault> = {}): RaftState {
  const state = newState(
    { ...limitsDefault, ...limits, id: one, start: 1, seed: 1 },
    {
      hardState: { term: 3, vote: null, commit: 0 },
      configuration: { voters: [one, two, three], learners: [] },
      tail: [],
      termBeforeTail: 0,
      firstIndex: 1,
      applied: 0,
    },
  );
  resetElectionTimer(state);
  return state;
}

function leader(limits: Partial<typeof limitsDefault> = {}): RaftState {
  const state = follower(limits);
  becomePreCandidate(state);
  becomeCandidate(state);
  becomeLeader(state);
  appendOwn(state, new Uint8Array(0));
  return state;
}

test("checkState passes every role on its way", () => {
  const state = follower();
  checkState(state);
  becomePreCandidate(state);
  checkState(state);
  becomeCandidate(state);
  checkState(state);
  becomeLeader(state);
  appendOwn(state, new Uint8Array(0));
  checkState(state);
  becomeFollower(state, 9, two);
  checkState(state);
  expect(state).toMatchObject({ role: "follower", term: 9, vote: null, leader: two });
});

test.each<[string, (state: RaftState) => void]>([
  ["later term", (state) => void (state.term = 0)],
  ["committed more than there is", (state) => void (state.commit = 2)],
  ["gave out too much", (state) => void (state.given = 1)],
  ["applied what", (state) => void (state.applied = 1)],
  ["synced what was never given", (state) => void (state.syncDone = 1)],
  ["follows another", (state) => void (state.leader = two)],
  ["progress of the wrong members", (state) => void state.progress.delete(two)],
  ["an entry of its term", (state) => void (state.termStart = 0)],
  ["reads are miscounted", (state) => void (state.reads.pendingCount = 1)],
  ["without a campaign", (state) => void state.votes.set(two, true)],
  ["out of bounds", (state) => void Object.assign(state.progress.get(two) ?? {}, { next: 9 })],
  [
    "answered a round",
    (state) => void Object.assign(state.progress.get(two) ?? {}, { roundAcked: 9 }),
  ],
])("checkState finds %s", (message, damage) => {
  const state = leader();
  checkState(state);
  damage(state);
  expect(() => checkState(state)).toThrow(message);
});

test.each<[string, (state: RaftState) => void]>([
  ["the term fell", (state) => void (state.term = 3)],
  ["the vote changed", (state) => void (state.vote = two)],
  ["the leader changed", (state) => void (state.leader = three)],
  ["log became shorter", (state) => state.log.truncate(2)],
])("checkStep finds that %s", (message, damage) => {
  const state = leader();
  appendOwn(state, new Uint8Array(0));
  const mark = stepMark(state);
  checkStep(mark, state);
  damage(state);
  expect(() => checkStep(mark, state)).toThrow(message);
});

test("send holds a message whose term is not on disk, and takeReady ties it to the write", () => {
  const state = follower();
  becomePreCandidate(state);
  becomeCandidate(state);
  expect(isHardStateDurable(state)).toBe(false);
  send(state, { type: "vote", from: one, to: two, term: 4, last: { term: 0, index: 0 } });
  const ready = takeReady(state);
  expect(ready.messages).toEqual([]);
  expect(ready.append?.hardState).toEqual({ term: 4, vote: one, commit: 0 });
  expect(ready.messagesAfterSync).toMatchObject([{ type: "vote", to: two }]);
  expect(hasReady(state)).toBe(false);
});

test("send drops what exceeds the messages that may wait for a sync", () => {
  const state = follower();
  becomeFollower(state, 5, two);
  for (let round = 0; round < outboxAfterSyncMax + 10; round++) {
    send(state, { type: "heartbeatResponse", from: one, to: two, term: 5, round });
  }
  expect(takeAfterSync(state)).toHaveLength(outboxAfterSyncMax);
});

test("acknowledge keeps the highest of a term, and a new term's replaces an older one's", () => {
  const state = follower();
  state.term = 4;
  for (let index = 1; index <= 3; index++) {
    state.log.append({ term: 4, index, kind: "normal", data: new Uint8Array(0) });
  }
  for (const match of [1, 3, 2]) acknowledge(state, two, match);
  expect(() => acknowledge(state, three, 1)).toThrow("two leaders");
  expect(takeAfterSync(state)).toMatchObject([{ to: two, term: 4, match: 3 }]);
  acknowledge(state, two, 3);
  state.term = 5;
  acknowledge(state, three, 1);
  expect(takeAfterSync(state)).toMatchObject([{ to: three, term: 5, match: 1 }]);
  expect(hasAfterSync(state)).toBe(false);
});

test("propose refuses what exceeds uncommittedBytesMax, and what was refused leaves no trace", () => {
  const state = leader({ uncommittedBytesMax: 100 });
  expect(propose(state, [new Uint8Array(60)], 1)).toBe("accepted");
  const bytes = uncommittedBytes(state);
  expect(propose(state, [new Uint8Array(10), new Uint8Array(90)], 2)).toBe("tooMany");
  expect(uncommittedBytes(state)).toBe(bytes);
  expect(propose(state, [new Uint8Array(10)], 3)).toBe("accepted");
  state.commit = state.log.last();
  expect(uncommittedBytes(state)).toBe(0);
  // Too large for the limit, but nothing else is under way.
  expect(propose(state, [new Uint8Array(500)], 4)).toBe("accepted");
  expect(propose(follower(), [new Uint8Array(1)], 5)).toBe("noLeader");
});

test("handlePropose takes or refuses a batch once and for all, in any order, of one start", () => {
  const state = leader({ uncommittedBytesMax: 100 });
  const before = state.log.last();
  const deliver = (batch: number, size: number, start = 1): number => {
    const commands = [new Uint8Array(size)];
    const envelope = { from: two, to: state.config.id, term: state.term };
    handlePropose(state, { type: "propose", ...envelope, batch, start, commands });
    return state.log.last() - before;
  };
  expect(deliver(2, 60)).toBe(1);
  expect(deliver(3, 60)).toBe(1);
  const { messages, messagesAfterSync } = takeReady(state);
  expect([...messages, ...messagesAfterSync]).toContainEqual(
    expect.objectContaining({ type: "proposeRejection", to: two, batch: 3, start: 1 }),
  );
  state.commit = state.log.last();
  expect(deliver(3, 60)).toBe(1);
  expect(deliver(2, 60)).toBe(1);
  expect(deliver(1, 1)).toBe(2);
  expect(deliver(2000, 1)).toBe(3);
  // So late that nobody remembers whether it was here before.
  expect(deliver(4, 1)).toBe(3);
  expect(deliver(1, 1, 2)).toBe(4);
  expect(deliver(2001, 1)).toBe(4);
  for (let batch = 2; batch < 10_000; batch++) {
    state.commit = state.log.last();
    deliver(batch, 0, 2);
  }
  expect(state.batchesSeen.get(two)?.recent.size).toBeLessThanOrEqual(2048);
  expect(deliver(9500, 0, 2)).toBe(4 + 9998);
});

test("askRead refuses what exceeds readsPendingMax, and failReads fails all that wait", () => {
  const state = leader({ readsPendingMax: 2 });
  for (const request of [1, 2, 3]) askRead(state, request);
  expect(takeReady(state).readsFailed).toEqual([3]);
  failReads(state);
  expect(takeReady(state).readsFailed).toEqual([1, 2]);
  expect(state.reads).toEqual(newReads());
});

test("tickElection campaigns at its timeout, tickLeader steps down at its own", () => {
  const state = follower();
  for (let ticks = 0; ticks < state.electionTimeout; ticks++) tickElection(state);
  expect(state.role).toBe("preCandidate");
  becomeCandidate(state);
  becomeLeader(state);
  for (let ticks = 0; ticks < limitsDefault.electionTicksMin; ticks++) {
    state.ticks++;
    tickLeader(state);
  }
  expect(state.role).toBe("follower");
});
