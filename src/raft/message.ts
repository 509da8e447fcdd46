// Messages between members: not call and answer, but facts that may be lost, doubled, reordered or
// late. Each names its term; what exists for one type only lives in that type.
import type { EntryId, Entry } from "./entry.ts";
import type { Index, MemberId, Term } from "../base/ids.ts";

interface Envelope {
  readonly from: MemberId;
  readonly to: MemberId;
  readonly term: Term;
}

/** Entries after `previous`; empty entries probe. `commit` may exceed what the follower has. */
export interface AppendMessage extends Envelope {
  readonly type: "append";
  readonly previous: EntryId;
  readonly entries: readonly Entry[];
  readonly commit: Index;
}

/** Sent when everything up to `match` is durable on the follower in the leader's term (R8). */
export interface AppendResponseMessage extends Envelope {
  readonly type: "appendResponse";
  readonly match: Index;
}

/**
 * The follower has no entry like `previous`. The hint is the highest place where the logs may
 * still agree, so that the leader skips whole terms at a time.
 */
export interface AppendRejectionMessage extends Envelope {
  readonly type: "appendRejection";
  /** Index of the refused append's `previous`: tells a stale rejection from a new one. */
  readonly previous: Index;
  readonly hint: EntryId;
}

/** Leadership confirmation. `round` strictly increases within a term (R9, I24). */
export interface HeartbeatMessage extends Envelope {
  readonly type: "heartbeat";
  readonly round: number;
  /** At most the follower's match: it surely has these entries. */
  readonly commit: Index;
}

export interface HeartbeatResponseMessage extends Envelope {
  readonly type: "heartbeatResponse";
  readonly round: number;
}

/** Asks whether an election could be won; changes nothing on the voter (R1). `term` is the next. */
export interface PreVoteMessage extends Envelope {
  readonly type: "preVote";
  readonly round: number;
  readonly last: EntryId;
}

/**
 * `term` is the asked one when granted, the voter's real one when not. With round 0, which no
 * campaign has, a refusal only teaches the term: the answer to what was sent in a lower one.
 */
export interface PreVoteResponseMessage extends Envelope {
  readonly type: "preVoteResponse";
  readonly round: number;
  readonly granted: boolean;
}

export interface VoteMessage extends Envelope {
  readonly type: "vote";
  readonly last: EntryId;
}

export interface VoteResponseMessage extends Envelope {
  readonly type: "voteResponse";
  readonly granted: boolean;
}

/**
 * A follower's clients' commands, sent once (R20), and taken at most once by the leader of `term`;
 * dropped by anyone else. `batch` is the follower's own, never used twice in one start.
 */
export interface ProposeMessage extends Envelope {
  readonly type: "propose";
  readonly batch: number;
  readonly start: number;
  readonly commands: readonly Uint8Array[];
}

/** Too much is uncommitted: the leader did not take this batch, and never will. */
export interface ProposeRejectionMessage extends Envelope {
  readonly type: "proposeRejection";
  readonly batch: number;
  /** The follower's, of the propose: what its earlier life asked is not its own. */
  readonly start: number;
}

/** A follower asks for a read barrier. `request` is the follower's own, never used twice. */
export interface ReadIndexMessage extends Envelope {
  readonly type: "readIndex";
  readonly request: number;
  /** The follower's start counter: answers to its earlier life are not its own (R9). */
  readonly start: number;
}

/** `index` is null when the asked member cannot confirm that it leads. */
export interface ReadIndexResponseMessage extends Envelope {
  readonly type: "readIndexResponse";
  readonly request: number;
  readonly start: number;
  readonly index: Index | null;
}

export type Message =
  | AppendMessage
  | AppendResponseMessage
  | AppendRejectionMessage
  | HeartbeatMessage
  | HeartbeatResponseMessage
  | PreVoteMessage
  | PreVoteResponseMessage
  | VoteMessage
  | VoteResponseMessage
  | ProposeMessage
  | ProposeRejectionMessage
  | ReadIndexMessage
  | ReadIndexResponseMessage;
