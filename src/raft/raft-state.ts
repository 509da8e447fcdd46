// All that consensus remembers, as one plain record. The modules beside it are functions on it,
// one concern each; raft.ts only dispatches. Nothing here is shared with the loop: it goes in by
// raft's methods and out by Ready.
import { Prng } from "../base/prng.ts";
import { assert, assertCounter } from "../base/assert.ts";
import type { Index, MemberId, Term } from "../base/ids.ts";
import type { RaftConfig, RaftRestored } from "./config.ts";
import type { Configuration, Entry } from "./entry.ts";
import { RaftLog } from "./log.ts";
import type { Message } from "./message.ts";
import type { Progress } from "./progress.ts";
import type { BatchesSeen } from "./proposals.ts";
import { newReads } from "./reads-state.ts";
import type { ReadsState } from "./reads-state.ts";
import type { Role } from "./ready.ts";

/** Age of the oldest write not yet synced, against the election timeout (R4). */
export type DiskStall = "none" | "half" | "full";

export interface RaftState {
  readonly config: RaftConfig;
  readonly configuration: Configuration;
  readonly log: RaftLog;
  readonly prng: Prng;

  /** Never falls. */
  term: Term;
  /** Once set, stays for the term. */
  vote: MemberId | null;
  /** Never falls. At most log.last(). May be above log.durable() on a leader. */
  commit: Index;
  /** term or vote changed since the disk was last given them. */
  hardStateChanged: boolean;
  /** commit as the disk was last given it. */
  commitSaved: Index;
  /** The write that carries term and vote; they are durable once syncDone reaches it. */
  hardStateSync: number;
  /** Name of the newest write given out; syncDone: the newest confirmed. syncDone <= syncGiven. */
  syncGiven: number;
  syncDone: number;

  role: Role;
  /** Leader of `term`; itself when leading. Null also when this member gave up on it. */
  leader: MemberId | null;
  /** Ticks since the start. */
  ticks: number;
  /** Ticks since this member heard its leader, granted a vote or campaigned. */
  electionElapsed: number;
  /** It campaigns when electionElapsed reaches this. */
  electionTimeout: number;
  stall: DiskStall;

  /** Counts pre-vote campaigns; different in every life of this member. */
  preVoteRound: number;
  /** First answer of each member in the campaign under way; empty without one. */
  readonly votes: Map<MemberId, boolean>;

  /** Of all other members while leading; empty otherwise. */
  readonly progress: Map<MemberId, Progress>;
  /** While leading: index of the empty entry that opened the term. */
  termStart: Index;
  heartbeatElapsed: number;
  /** While leading: by follower. Of this term alone, as are the batches. */
  readonly batchesSeen: Map<MemberId, BatchesSeen>;
  /** This member's own, rejected by a leader and not given out yet. */
  batchesRefused: number[];
  readonly reads: ReadsState;

  /** Last committed index given out. applied <= given <= commit, log.durable(). */
  given: Index;
  /** Last index the machine has applied. */
  applied: Index;
  /** Committed entries were asked from disk and did not come yet. */
  isApplyLoading: boolean;
  /** They came: from given + 1 on. */
  applyLoaded: readonly Entry[];

  /** Leave at once. */
  outbox: Message[];
  /** Leave when everything given to the disk so far, and the next write, is synced. */
  outboxAfterSync: Message[];
  /** Acknowledgement under way, not in the outbox yet; later ones of one turn replace it. */
  acknowledgement: { readonly to: MemberId; readonly term: Term; match: Index } | null;
}

/** Messages held for a sync; more are dropped, as a network may. */
export const outboxAfterSyncMax = 4096;

/** Pre-vote rounds of one life: 2^30 of them, for 2^23 lives. */
const roundsPerStart = 2 ** 30;

export function newState(config: RaftConfig, restored: RaftRestored): RaftState {
  const { hardState, configuration } = restored;
  assertCounter(hardState.term, "term");
  assertCounter(config.start * roundsPerStart, "start");
  assert(config.electionTicksMin > config.heartbeatTicks, "an election before a heartbeat");
  const log = new RaftLog(restored, config.tailBytesMax);
  const commit = Math.max(hardState.commit, restored.applied);
  assert(commit <= log.last(), `committed up to ${commit}, but the log ends at ${log.last()}`);
  assert(
    commit >= log.tailFirst() - 1,
    "the restored tail does not reach down to the commit index",
  );
  assert(hardState.term >= log.lastId().term, "the log is of a later term than the hard state");
  return {
    config,
    configuration,
    log,
    prng: new Prng(config.seed, streamOf(config.id)),
    term: hardState.term,
    vote: hardState.vote,
    commit,
    hardStateChanged: false,
    commitSaved: hardState.commit,
    hardStateSync: 0,
    syncGiven: 0,
    syncDone: 0,
    role: "follower",
    leader: null,
    ticks: 0,
    electionElapsed: 0,
    electionTimeout: 0,
    stall: "none",
    preVoteRound: config.start * roundsPerStart,
    votes: new Map(),
    progress: new Map(),
    termStart: 0,
    heartbeatElapsed: 0,
    batchesSeen: new Map(),
    batchesRefused: [],
    reads: newReads(),
    given: restored.applied,
    applied: restored.applied,
    isApplyLoading: false,
    applyLoaded: [],
    outbox: [],
    outboxAfterSync: [],
    acknowledgement: null,
  };
}

export function isVoter(state: RaftState, member: MemberId): boolean {
  return state.configuration.voters.includes(member);
}

export function isMember(state: RaftState, member: MemberId): boolean {
  return isVoter(state, member) || state.configuration.learners.includes(member);
}

/** term and vote as they are now are on disk. */
export function isHardStateDurable(state: RaftState): boolean {
  return !state.hardStateChanged && state.hardStateSync <= state.syncDone;
}

/** Members that are given one seed must not draw the same timeouts. */
function streamOf(id: MemberId): number {
  let hash = 0;
  for (let i = 0; i < id.length; i++) hash = (Math.imul(hash, 31) + id.charCodeAt(i)) | 0;
  return hash;
}
