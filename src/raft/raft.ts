// The consensus core's one door (Raft, as in Ongaro's thesis): calls and messages go in, a Ready
// comes out. Pure: no clock, no I/O, no promise; the same calls give the same answers. This file
// only dispatches; each concern is a module of functions on the state record.
//
// What a message's term means is decided here, once, for all types: a higher one makes a follower
// of this member, except that pre-votes change nothing and sticky members ignore votes (R1, R2);
// a lower one is dropped, or answered where the sender would otherwise never learn.
import { assert, unreachable } from "../base/assert.ts";
import type { Index, MemberId } from "../base/ids.ts";
import type { RaftConfig, RaftRestored } from "./config.ts";
import {
  handlePreVote,
  handlePreVoteResponse,
  handleVote,
  handleVoteResponse,
  hardStateSynced,
  isSticky,
  leaderDisconnected,
  setDiskStall,
  tickElection,
  tickLeader,
} from "./election.ts";
import type { Entry } from "./entry.ts";
import { checkState, checkStep, stepMark } from "./invariants.ts";
import type { StepMark } from "./invariants.ts";
import type { AppendMessage, HeartbeatMessage, Message } from "./message.ts";
import { send } from "./outbox.ts";
import type { ProgressState } from "./progress.ts";
import { handlePropose, handleProposeRejection, propose } from "./proposals.ts";
import type { ProposeResult } from "./proposals.ts";
import { isMember, newState } from "./raft-state.ts";
import type { DiskStall, RaftState } from "./raft-state.ts";
import {
  askRead,
  expireForwarded,
  handleHeartbeat,
  handleHeartbeatResponse,
  handleReadIndex,
  handleReadIndexResponse,
} from "./read-index.ts";
import type { EntriesWanted, RaftStatus, Ready } from "./ready.ts";
import {
  entriesLoadedFor,
  handleAppend,
  handleAppendRejection,
  handleAppendResponse,
  maybeCommit,
} from "./replication.ts";
import { becomeFollower, resetElectionTimer, setLeader } from "./role.ts";
import { hasReady, takeReady } from "./take-ready.ts";

/** A leader's view of one follower, for status and tests. */
export interface FollowerProgress {
  readonly member: MemberId;
  readonly state: ProgressState;
  readonly match: Index;
  readonly next: Index;
  readonly inflightCount: number;
  readonly inflightBytes: number;
}

export class Raft {
  readonly #state: RaftState;
  #mark: StepMark;

  constructor(config: RaftConfig, restored: RaftRestored) {
    this.#state = newState(config, restored);
    resetElectionTimer(this.#state);
    this.#mark = stepMark(this.#state);
  }

  /** One unit of time has passed. The loop has given all messages that arrived in it (J1). */
  tick(): void {
    const state = this.#state;
    state.ticks++;
    expireForwarded(state);
    if (state.role === "leader") tickLeader(state);
    else tickElection(state);
  }

  /** Takes a message of another member. Any message that decodes is taken or ignored. */
  step(message: Message): void {
    const state = this.#state;
    if (message.to !== state.config.id || message.from === state.config.id) return;
    if (message.term > state.term && !this.#acceptHigherTerm(message)) return;
    if (message.term < state.term && message.type !== "preVoteResponse") {
      return this.#answerLowerTerm(message);
    }
    this.#noteContact(message);
    this.#dispatch(message);
  }

  /**
   * All of the commands, or none. "accepted" by a follower: forwarded once, fate unknown unless
   * ready.batchesRefused names it. `batch` is new in this start.
   */
  propose(commands: readonly Uint8Array[], batch: number): ProposeResult {
    return propose(this.#state, commands, batch);
  }

  /** A read barrier, answered in ready.reads or ready.readsFailed. `request` is new in this start. */
  readIndex(request: number): void {
    askRead(this.#state, request);
  }

  hasReady(): boolean {
    return hasReady(this.#state);
  }

  /** Takes everything out. */
  ready(): Ready {
    return takeReady(this.#state);
  }

  /** The append of the ready with this `sync`, and all before, are on disk. 0 means nothing. */
  synced(sync: number): void {
    const state = this.#state;
    assert(sync <= state.syncGiven, "a sync that was never given out");
    if (sync <= state.syncDone) return;
    state.syncDone = sync;
    state.log.synced(sync);
    if (state.role === "leader") maybeCommit(state);
    state.log.trim(state.commit);
    hardStateSynced(state);
  }

  /** What `wanted` asked for: at least its first entry. */
  entriesLoaded(wanted: EntriesWanted, entries: readonly Entry[]): void {
    assert(entries[0]?.index === wanted.first, "other entries than were wanted");
    const state = this.#state;
    if (wanted.purpose !== "apply") return entriesLoadedFor(state, wanted, entries);
    assert(state.isApplyLoading && wanted.first === state.given + 1, "nobody asked for these");
    state.isApplyLoading = false;
    state.applyLoaded = entries;
  }

  /** The machine has applied everything up to `index`. */
  applied(index: Index): void {
    assert(
      index >= this.#state.applied && index <= this.#state.given,
      "applied what was not given out, or again",
    );
    this.#state.applied = index;
  }

  /** The connection from `peer` was reset or closed without notice. */
  leaderDisconnected(peer: MemberId): void {
    leaderDisconnected(this.#state, peer);
  }

  /** Age of the oldest unsynced write against the election timeout; the loop measures it (R4). */
  diskStall(stall: DiskStall): void {
    setDiskStall(this.#state, stall);
  }

  status(): RaftStatus {
    const { config, role, term, leader, commit, log } = this.#state;
    return {
      id: config.id,
      role,
      term,
      leader,
      commit,
      last: log.last(),
      durable: log.durable(),
    };
  }

  /** Of every other member while this one leads; empty otherwise. */
  progress(): readonly FollowerProgress[] {
    return [...this.#state.progress.values()].map(({ member, state, match, next, inflight }) => ({
      member,
      state,
      match,
      next,
      inflightCount: inflight.count(),
      inflightBytes: inflight.bytes(),
    }));
  }

  /** Throws when the state, or what changed since the last call, breaks an invariant. */
  checkInvariants(): void {
    checkState(this.#state);
    checkStep(this.#mark, this.#state);
    this.#mark = stepMark(this.#state);
  }

  /** Takes the term over where that is right; false: the message ends here. */
  #acceptHigherTerm(message: Message): boolean {
    const state = this.#state;
    switch (message.type) {
      case "preVote":
        return true;
      case "vote":
        if (isSticky(state)) return false;
        becomeFollower(state, message.term, null);
        return true;
      case "append":
      case "heartbeat":
        becomeFollower(state, message.term, message.from);
        return true;
      case "preVoteResponse":
        // A grant speaks of the term asked for, which nobody has entered.
        return message.granted || this.#learnTerm(message);
      case "appendResponse":
      case "appendRejection":
      case "heartbeatResponse":
      case "voteResponse":
      case "propose":
      case "proposeRejection":
      case "readIndex":
      case "readIndexResponse":
        return this.#learnTerm(message);
    }
    return unreachable(message);
  }

  /** What only members send: a stranger does not move the term (I14). */
  #learnTerm(message: Message): boolean {
    const state = this.#state;
    if (!isMember(state, message.from)) return false;
    becomeFollower(state, message.term, null);
    return true;
  }

  /** Tells senders that act on a lower term which one it is; the rest is too late to matter. */
  #answerLowerTerm(message: Message): void {
    const state = this.#state;
    switch (message.type) {
      case "append":
      case "heartbeat":
      case "vote": {
        // Not in the form of an answer: by then the sender may lead this very term, and must not
        // take an answer to a question of its old one for an answer to its new one.
        const { from: to } = message;
        const { config, term } = state;
        const type = "preVoteResponse";
        return send(state, { type, from: config.id, to, term, round: 0, granted: false });
      }
      case "preVote":
        return handlePreVote(state, message);
      case "readIndex":
        return handleReadIndex(state, message);
      case "appendResponse":
      case "appendRejection":
      case "heartbeatResponse":
      case "preVoteResponse":
      case "voteResponse":
      case "propose":
      case "proposeRejection":
      case "readIndexResponse":
    }
  }

  /** The leader of this term spoke, or a follower answered it. */
  #noteContact(message: Message): void {
    const state = this.#state;
    switch (message.type) {
      case "append":
      case "heartbeat":
        return this.#hearLeader(message);
      case "appendResponse":
      case "appendRejection":
      case "heartbeatResponse": {
        const progress = state.progress.get(message.from);
        if (progress !== undefined) progress.contactTick = state.ticks;
        return;
      }
      case "preVote":
      case "preVoteResponse":
      case "vote":
      case "voteResponse":
      case "propose":
      case "proposeRejection":
      case "readIndex":
      case "readIndexResponse":
    }
  }

  #hearLeader(message: AppendMessage | HeartbeatMessage): void {
    const state = this.#state;
    assert(state.role !== "leader", "another member leads this one's own term");
    assert(state.leader === null || state.leader === message.from, "two leaders in one term");
    if (state.role !== "follower") return becomeFollower(state, state.term, message.from);
    setLeader(state, message.from);
    resetElectionTimer(state);
  }

  #dispatch(message: Message): void {
    const state = this.#state;
    switch (message.type) {
      case "append":
        return handleAppend(state, message);
      case "appendResponse":
        return handleAppendResponse(state, message);
      case "appendRejection":
        return handleAppendRejection(state, message);
      case "heartbeat":
        return handleHeartbeat(state, message);
      case "heartbeatResponse":
        return handleHeartbeatResponse(state, message);
      case "preVote":
        return handlePreVote(state, message);
      case "preVoteResponse":
        return handlePreVoteResponse(state, message);
      case "vote":
        return handleVote(state, message);
      case "voteResponse":
        return handleVoteResponse(state, message);
      case "propose":
        return handlePropose(state, message);
      case "proposeRejection":
        return handleProposeRejection(state, message);
      case "readIndex":
        return handleReadIndex(state, message);
      case "readIndexResponse":
        return handleReadIndexResponse(state, message);
    }
    return unreachable(message);
  }
}
