// The four roles and the only ways between them.
//
//                  election timeout            pre-vote won            vote won
//   follower ----------------------> preCandidate -------> candidate -------> leader
//      ^                                  |                    |                 |
//      +----------------------------------+--------------------+-----------------+
//       higher term; a leader of this term; campaign lost; quorum or disk lost
//
// A pre-candidate has changed nothing that is durable (I15). Leaving leadership fails every read
// barrier that waits on it, and forgets all progress: nothing of one leadership reaches the next.
import { assert, assertCounter } from "../base/assert.ts";
import type { MemberId, Term } from "../base/ids.ts";
import { newProgress } from "./progress.ts";
import { isVoter } from "./raft-state.ts";
import type { RaftState } from "./raft-state.ts";
import { failReads } from "./read-index.ts";

export function becomeFollower(state: RaftState, term: Term, leader: MemberId | null): void {
  assert(leader !== state.config.id, "follows itself");
  enterTerm(state, term);
  leave(state);
  state.role = "follower";
  setLeader(state, leader);
  resetElectionTimer(state);
}

export function becomePreCandidate(state: RaftState): void {
  assert(state.role !== "leader", "a leader campaigns");
  leave(state);
  state.role = "preCandidate";
  state.preVoteRound++;
  setLeader(state, null);
  resetElectionTimer(state);
}

/** Next term, own vote. Neither counts before they are on disk. */
export function becomeCandidate(state: RaftState): void {
  assert(state.role === "preCandidate", "a campaign without a pre-vote");
  leave(state);
  enterTerm(state, state.term + 1);
  state.role = "candidate";
  if (isVoter(state, state.config.id)) state.vote = state.config.id;
  setLeader(state, null);
  resetElectionTimer(state);
}

export function becomeLeader(state: RaftState): void {
  assert(state.role === "candidate", "leads without a campaign");
  leave(state);
  state.role = "leader";
  setLeader(state, state.config.id);
  const at = { last: state.log.last(), tick: state.ticks };
  const { voters, learners } = state.configuration;
  for (const member of [...voters, ...learners]) {
    if (member !== state.config.id) {
      state.progress.set(member, newProgress(member, at, state.config));
    }
  }
  state.heartbeatElapsed = 0;
  state.reads.round = 0;
  state.termStart = state.log.last() + 1;
  resetElectionTimer(state);
}

/** Gives up on the leader without a new term: it is silent, or its connection broke. */
export function setLeader(state: RaftState, leader: MemberId | null): void {
  if (state.leader !== leader) failReads(state);
  state.leader = leader;
}

/**
 * The next campaign is a random time away. A lone voter waits for nobody but, as a candidate, for
 * its disk: a new term with each tick would be a new vote to sync, and never one that counts.
 */
export function resetElectionTimer(state: RaftState): void {
  const { electionTicksMin } = state.config;
  const isAlone = state.configuration.voters.length === 1 && isVoter(state, state.config.id);
  state.electionElapsed = 0;
  state.electionTimeout =
    isAlone && state.role !== "candidate"
      ? 1
      : state.prng.between(electionTicksMin, 2 * electionTicksMin - 1);
}

function enterTerm(state: RaftState, term: Term): void {
  assertCounter(term, "term");
  assert(term >= state.term, "the term falls");
  if (term === state.term) return;
  state.term = term;
  state.vote = null;
  state.leader = null;
  state.hardStateChanged = true;
  failReads(state);
}

function leave(state: RaftState): void {
  if (state.role === "leader") failReads(state);
  state.votes.clear();
  state.progress.clear();
  state.batchesSeen.clear();
  state.termStart = 0;
}
