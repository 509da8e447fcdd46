// What must hold in one member at any time (checkState), and from one look to the next (checkStep),
// in the manner of LogCabin's. Tests and the simulator call both after every step; the cheap ones
// that guard a single decision are asserted where it is made, always. What holds between members
// (one leader per term, log matching) cannot be seen from here.
import { assert } from "../base/assert.ts";
import type { Index, MemberId, Term } from "../base/ids.ts";
import type { Progress } from "./progress.ts";
import { isVoter } from "./raft-state.ts";
import type { RaftState } from "./raft-state.ts";
import type { Role } from "./ready.ts";

/** What checkStep compares with. */
export interface StepMark {
  readonly term: Term;
  readonly vote: MemberId | null;
  readonly leader: MemberId | null;
  readonly role: Role;
  readonly commit: Index;
  readonly given: Index;
  readonly applied: Index;
  readonly last: Index;
  readonly lastTerm: Term;
  readonly round: number;
}

export function stepMark(state: RaftState): StepMark {
  const { term, vote, leader, role, commit, given, applied, reads, log } = state;
  const { index: last, term: lastTerm } = log.lastId();
  return { term, vote, leader, role, commit, given, applied, last, lastTerm, round: reads.round };
}

export function checkState(state: RaftState): void {
  const { log, commit, given, applied, term, role, config } = state;
  const { index: last, term: lastTerm } = log.lastId();
  assert(lastTerm <= term, "an entry of a later term than this member's");
  assert(commit <= last, "committed more than there is");
  assert(log.durable() <= last, "durable beyond the end");
  assert(applied <= given, "applied what was not given out");
  assert(given <= commit && given <= log.durable(), "gave out too much");
  assert(log.tailFirst() <= commit + 1, "an uncommitted entry is not in memory");
  assert(state.syncDone <= state.syncGiven, "synced what was never given");
  assert(state.electionElapsed < state.electionTimeout || role === "leader", "a missed campaign");
  checkTerms(state);
  if (role === "leader") {
    checkLeader(state);
  } else {
    assert(state.progress.size === 0, "progress without leadership");
    assert(state.reads.pendingCount === 0, "reads wait on a member that does not lead");
    assert(state.leader !== config.id, "its own follower");
  }
  if (role === "candidate" || role === "preCandidate") {
    assert(state.leader === null, "campaigns against a leader it knows");
  } else {
    assert(state.votes.size === 0, "counts votes without a campaign");
  }
  if (role === "candidate" && isVoter(state, config.id)) {
    assert(state.vote === config.id, "a candidate that did not vote for itself");
  }
}

/** Older ones were checked when they were newer. */
const termsChecked = 8;

function checkTerms(state: RaftState): void {
  const { log } = state;
  const first = Math.max(log.tailFirst(), log.last() - termsChecked);
  let before = log.termAt(first - 1) ?? 0;
  for (let index = first; index <= log.last(); index++) {
    const term = log.termAt(index) ?? 0;
    assert(term >= before, "the term falls within the log");
    before = term;
  }
}

function checkLeader(state: RaftState): void {
  const { log, config, reads } = state;
  assert(state.leader === config.id, "a leader that follows another");
  assert(log.termAt(state.termStart) === state.term, "a leader without an entry of its term");
  assert(log.termAt(state.termStart - 1) !== state.term, "its term did not start there");
  const { voters, learners } = state.configuration;
  for (const member of [...voters, ...learners]) {
    assert(state.progress.has(member) === (member !== config.id), "progress of the wrong members");
  }
  for (const progress of state.progress.values()) checkProgress(state, progress);
  let pending = reads.waiting.length;
  let round = 0;
  for (const sent of reads.rounds) {
    assert(sent.round > round && sent.round <= reads.round, "read rounds out of order");
    assert(sent.index >= state.termStart && sent.index <= state.commit, "a read index too low");
    round = sent.round;
    pending += sent.requests.length;
  }
  assert(pending === reads.pendingCount, "reads are miscounted");
  assert(pending <= config.readsPendingMax, "too many reads wait");
}

function checkProgress(state: RaftState, progress: Progress): void {
  const { match, next, inflight, state: mode } = progress;
  assert(match < next && next <= state.log.last() + 1, "next is out of bounds");
  assert(inflight.count() <= state.config.inflightCountMax, "too many appends in flight");
  assert((inflight.count() === 0) === (inflight.bytes() === 0), "bytes in flight leak");
  if (mode === "probe") assert(inflight.count() === 0, "a probe with a pipeline");
  if (mode === "replicate") assert(!progress.probeSent, "a pipeline that waits for a probe");
  if (match === next - 1) assert(inflight.count() === 0, "acknowledged, but still in flight");
  assert(progress.roundAcked <= state.reads.round, "answered a round that was never sent");
}

export function checkStep(before: StepMark, state: RaftState): void {
  assert(state.term >= before.term, "the term fell");
  assert(state.commit >= before.commit, "the commit index fell");
  assert(state.given >= before.given, "given out twice");
  assert(state.applied >= before.applied, "applied fell");
  const { log } = state;
  assert(log.last() >= before.commit, "committed entries were cut off");
  if (state.term !== before.term) return;
  if (before.vote !== null) assert(state.vote === before.vote, "the vote changed within a term");
  if (before.leader !== null && state.leader !== null) {
    assert(state.leader === before.leader, "the leader changed within a term");
  }
  if (before.role !== "leader") return;
  // It may have stepped down, and as a follower of its own term nobody can make it cut its log.
  assert(log.last() >= before.last, "a leader's log became shorter");
  if (before.last >= log.tailFirst()) {
    assert(log.termAt(before.last) === before.lastTerm, "a leader replaced an entry");
  }
  if (state.role === "leader") assert(state.reads.round >= before.round, "the read round fell");
}
