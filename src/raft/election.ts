// Who leads. Pre-vote, vote, stickiness and check quorum are one feature, always on together:
//
// - Pre-vote (Raft thesis 9.6) asks whether an election could be won and changes nothing on the
//   voter: no term, no vote, no timer. Each campaign has a round; answers to another are dropped.
// - Stickiness (4.2.3): who heard its leader within the minimum election timeout, and the leader
//   itself, helps nobody else; not even by taking over a higher term.
// - Check quorum: a leader that a majority has not answered for one election timeout steps down.
// - A leader whose disk does not sync stops its heartbeats at half the timeout and steps down at
//   the whole; nobody campaigns with such a disk (R4).
//
// A member whose connection to the leader breaks may campaign early; it convinces only those that
// lost the leader too. Votes are counted by voter, the own one only once it is on disk.
import type { MemberId } from "../base/ids.ts";
import type { EntryId } from "./entry.ts";
import type {
  PreVoteMessage,
  PreVoteResponseMessage,
  VoteMessage,
  VoteResponseMessage,
} from "./message.ts";
import { send } from "./outbox.ts";
import { quorumValue, voteResult } from "./quorum.ts";
import { isHardStateDurable, isVoter } from "./raft-state.ts";
import type { DiskStall, RaftState } from "./raft-state.ts";
import { appendOwn } from "./replication.ts";
import { sendHeartbeats } from "./read-index.ts";
import {
  becomeCandidate,
  becomeFollower,
  becomeLeader,
  becomePreCandidate,
  resetElectionTimer,
  setLeader,
} from "./role.ts";

export function tickElection(state: RaftState): void {
  state.electionElapsed++;
  if (state.electionElapsed < state.electionTimeout) return;
  const mayCampaign = isVoter(state, state.config.id) && state.stall === "none";
  if (mayCampaign) campaign(state);
  else resetElectionTimer(state);
}

export function tickLeader(state: RaftState): void {
  if (!hasQuorumContact(state)) return becomeFollower(state, state.term, null);
  state.heartbeatElapsed++;
  if (state.heartbeatElapsed >= state.config.heartbeatTicks) sendHeartbeats(state);
}

/** The connection from `peer` broke without notice. A crash does that long before a timeout. */
export function leaderDisconnected(state: RaftState, peer: MemberId): void {
  if (state.role !== "follower" || state.leader !== peer) return;
  setLeader(state, null);
  // A sixth of the timeout (50 ms of 300) spreads the members that notice at once.
  const jitterMax = Math.floor(state.config.electionTicksMin / 6);
  const campaignAt = state.electionElapsed + 1 + state.prng.between(0, jitterMax);
  state.electionTimeout = Math.min(state.electionTimeout, campaignAt);
}

export function setDiskStall(state: RaftState, stall: DiskStall): void {
  state.stall = stall;
  if (stall === "full" && state.role === "leader") becomeFollower(state, state.term, null);
}

function hasQuorumContact(state: RaftState): boolean {
  const oldest = state.ticks - state.config.electionTicksMin;
  const contacts = state.configuration.voters.map((voter) =>
    voter === state.config.id ? state.ticks : (state.progress.get(voter)?.contactTick ?? 0),
  );
  return quorumValue(contacts) > oldest;
}

function campaign(state: RaftState): void {
  becomePreCandidate(state);
  state.votes.set(state.config.id, true);
  if (voteResult(state.configuration.voters, state.votes) === "won") return campaignForReal(state);
  const { term, preVoteRound: round } = state;
  const last = state.log.lastId();
  for (const to of otherVoters(state)) {
    send(state, { type: "preVote", from: state.config.id, to, term: term + 1, round, last });
  }
}

function campaignForReal(state: RaftState): void {
  becomeCandidate(state);
  const last = state.log.lastId();
  for (const to of otherVoters(state)) {
    send(state, { type: "vote", from: state.config.id, to, term: state.term, last });
  }
}

/** Term and vote reached the disk: a candidate's vote for itself counts now. */
export function hardStateSynced(state: RaftState): void {
  if (state.role !== "candidate" || !isHardStateDurable(state)) return;
  if (state.vote === state.config.id) countVote(state, state.config.id, true);
}

export function handlePreVote(state: RaftState, message: PreVoteMessage): void {
  const { from, round } = message;
  const isPossible = message.term > state.term && isUpToDate(state, message.last);
  const granted = isPossible && !isSticky(state);
  const term = granted ? message.term : state.term;
  send(state, {
    type: "preVoteResponse",
    from: state.config.id,
    to: from,
    term,
    round,
    granted,
  });
}

/** A refusal with a higher term is handled before: it taught the term. */
export function handlePreVoteResponse(state: RaftState, message: PreVoteResponseMessage): void {
  if (state.role !== "preCandidate" || message.round !== state.preVoteRound) return;
  if (message.granted && message.term !== state.term + 1) return;
  if (!isVoter(state, message.from) || state.votes.has(message.from)) return;
  state.votes.set(message.from, message.granted);
  switch (voteResult(state.configuration.voters, state.votes)) {
    case "won":
      return campaignForReal(state);
    case "lost":
      return becomeFollower(state, state.term, null);
    case "pending":
  }
}

/** Of this term: a higher one was taken over before, a lower one refused. */
export function handleVote(state: RaftState, message: VoteMessage): void {
  const isFree = state.vote === null && state.leader === null;
  const granted = (isFree || state.vote === message.from) && isUpToDate(state, message.last);
  if (granted && state.vote === null) {
    if (state.role !== "follower") becomeFollower(state, state.term, null);
    state.vote = message.from;
    state.hardStateChanged = true;
    resetElectionTimer(state);
  }
  const { term } = state;
  send(state, { type: "voteResponse", from: state.config.id, to: message.from, term, granted });
}

export function handleVoteResponse(state: RaftState, message: VoteResponseMessage): void {
  if (state.role === "candidate") countVote(state, message.from, message.granted);
}

function countVote(state: RaftState, voter: MemberId, granted: boolean): void {
  if (!isVoter(state, voter) || state.votes.has(voter)) return;
  state.votes.set(voter, granted);
  switch (voteResult(state.configuration.voters, state.votes)) {
    case "won":
      becomeLeader(state);
      // Nothing of earlier terms commits before an entry of this one does (Raft thesis 3.6.2).
      appendOwn(state, new Uint8Array(0));
      return sendHeartbeats(state);
    case "lost":
      return becomeFollower(state, state.term, null);
    case "pending":
  }
}

/** It hears its leader, or leads: another election would only disturb (R2). */
export function isSticky(state: RaftState): boolean {
  if (state.role === "leader") return true;
  return state.leader !== null && state.electionElapsed < state.config.electionTicksMin;
}

/** Raft thesis 3.6.1: the later last term wins, then the longer log. */
function isUpToDate(state: RaftState, candidate: EntryId): boolean {
  const own = state.log.lastId();
  if (candidate.term !== own.term) return candidate.term > own.term;
  return candidate.index >= own.index;
}

function otherVoters(state: RaftState): MemberId[] {
  return state.configuration.voters.filter((voter) => voter !== state.config.id);
}
