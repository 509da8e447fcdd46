// Linearizable reads without the log (Raft thesis 6.4). The leader notes its commit index, proves
// that it still leads by a round of heartbeats that started afterwards, and answers.
//
//   request --> waiting --> in a round (index noted, heartbeats sent) --> a majority answered: done
//
// - A request joins only a round that was not sent yet; the requests of one turn share one.
// - Rounds strictly increase within a term, and each heartbeat is of one round. An answer to a
//   round confirms it and all before it, never a later one (etcd #20418).
// - A new leader starts no round for reads before it committed an entry of its term: its commit
//   index may be behind what was acknowledged to clients (etcd #7331).
// - A follower forwards to its leader, naming its start, and forgets a request without an answer
//   after two election timeouts. All fail when leadership changes; the loop asks anew, with a new
//   number.
import { assert } from "../base/assert.ts";
import type { Index } from "../base/ids.ts";
import type {
  HeartbeatMessage,
  HeartbeatResponseMessage,
  ReadIndexMessage,
  ReadIndexResponseMessage,
} from "./message.ts";
import { send } from "./outbox.ts";
import { quorumValue } from "./quorum.ts";
import type { RaftState } from "./raft-state.ts";
import type { ReadRequest } from "./reads-state.ts";
import { commitFromLeader, prodIfLost } from "./replication.ts";

/** A barrier of this member's own. `request` was never used before in this start. */
export function askRead(state: RaftState, request: number): void {
  const { reads, config, leader, term } = state;
  const pendingCount = reads.pendingCount + reads.forwarded.size;
  if (leader === null || pendingCount >= config.readsPendingMax) {
    reads.failed.push(request);
  } else if (state.role === "leader") {
    accept(state, { from: null, request, start: config.start });
  } else {
    assert(!reads.forwarded.has(request), "a read request number is used twice");
    reads.forwarded.set(request, state.ticks + 2 * config.electionTicksMin);
    const { id: from, start } = config;
    send(state, { type: "readIndex", from, to: leader, term, request, start });
  }
}

export function handleReadIndex(state: RaftState, message: ReadIndexMessage): void {
  const { from, request, start } = message;
  const mayLead = state.role === "leader" && message.term === state.term;
  if (mayLead && state.reads.pendingCount < state.config.readsPendingMax) {
    accept(state, { from, request, start });
  } else {
    answer(state, { from, request, start }, null);
  }
}

export function handleReadIndexResponse(state: RaftState, message: ReadIndexResponseMessage): void {
  if (message.start !== state.config.start) return;
  if (!state.reads.forwarded.delete(message.request)) return;
  if (message.index === null) state.reads.failed.push(message.request);
  else state.reads.confirmed.push({ request: message.request, index: message.index });
}

/** Requests whose answer was lost. */
export function expireForwarded(state: RaftState): void {
  for (const [request, deadline] of state.reads.forwarded) {
    if (deadline > state.ticks) return;
    state.reads.forwarded.delete(request);
    state.reads.failed.push(request);
  }
}

/** Leadership, here or of the leader asked, is over: nothing that waits can be confirmed. */
export function failReads(state: RaftState): void {
  const { reads } = state;
  for (const request of reads.forwarded.keys()) reads.failed.push(request);
  reads.forwarded.clear();
  for (const request of [...reads.rounds.flatMap((round) => round.requests), ...reads.waiting]) {
    answer(state, request, null);
  }
  reads.rounds = [];
  reads.waiting = [];
  reads.pendingCount = 0;
}

export function isReadRoundDue(state: RaftState): boolean {
  return state.reads.waiting.length > 0 && mayConfirm(state) && state.stall === "none";
}

/** One round: confirms leadership for the requests that wait, and tells followers of the leader. */
export function sendHeartbeats(state: RaftState): void {
  // A leader that cannot write must not keep others from leading.
  if (state.stall !== "none") return;
  const { reads, term, config } = state;
  reads.round++;
  state.heartbeatElapsed = 0;
  if (mayConfirm(state) && reads.waiting.length > 0) {
    reads.rounds.push({ round: reads.round, index: state.commit, requests: reads.waiting });
    reads.waiting = [];
  }
  for (const [to, progress] of state.progress) {
    const commit = Math.min(progress.match, state.commit);
    const { round } = reads;
    send(state, { type: "heartbeat", from: config.id, to, term, round, commit });
  }
  confirmRounds(state);
}

/** The sender leads this term; the dispatch has made this member its follower. */
export function handleHeartbeat(state: RaftState, message: HeartbeatMessage): void {
  assert(message.commit <= state.log.last(), "acknowledged entries are gone from this disk");
  commitFromLeader(state, message.commit);
  const { term } = state;
  const { from: to, round } = message;
  send(state, { type: "heartbeatResponse", from: state.config.id, to, term, round });
}

export function handleHeartbeatResponse(state: RaftState, message: HeartbeatResponseMessage): void {
  const progress = state.progress.get(message.from);
  if (progress === undefined) return;
  assert(message.round <= state.reads.round, "an answer to a round that was never sent");
  prodIfLost(state, progress);
  if (message.round <= progress.roundAcked) return;
  progress.roundAcked = message.round;
  confirmRounds(state);
}

function accept(state: RaftState, request: ReadRequest): void {
  state.reads.waiting.push(request);
  state.reads.pendingCount++;
}

/** An entry of this leader's own term is committed, so its commit index is the newest there is. */
function mayConfirm(state: RaftState): boolean {
  return state.role === "leader" && state.commit >= state.termStart;
}

function confirmRounds(state: RaftState): void {
  const { reads } = state;
  const oldest = reads.rounds[0];
  if (oldest === undefined) return;
  const acked = state.configuration.voters.map((voter) =>
    voter === state.config.id ? reads.round : (state.progress.get(voter)?.roundAcked ?? 0),
  );
  const confirmed = quorumValue(acked);
  while (reads.rounds[0] !== undefined && reads.rounds[0].round <= confirmed) {
    const { index, requests } = reads.rounds[0];
    reads.rounds.shift();
    reads.pendingCount -= requests.length;
    for (const request of requests) answer(state, request, index);
  }
}

function answer(state: RaftState, asked: ReadRequest, index: Index | null): void {
  const { request, start } = asked;
  if (asked.from !== null) {
    const { term, config } = state;
    const from = config.id;
    send(state, { type: "readIndexResponse", from, to: asked.from, term, request, start, index });
  } else if (index === null) {
    state.reads.failed.push(request);
  } else {
    state.reads.confirmed.push({ request, index });
  }
}
