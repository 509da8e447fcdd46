// Ready: everything the core wants done since the last one. The loop carries it out in this order:
// 1 `messages` leave at once; 2 `append` goes to the log as one durable write; 3 when that write is
// synced, `messagesAfterSync` leave and the loop calls raft.synced(ready.sync); 4 `committed`
// entries are applied in order, and the loop calls raft.applied: no more come before; 5 confirmed
// reads are served once applied reaches their index.
import type { Entry, HardState } from "./entry.ts";
import type { Index, MemberId, Term } from "../base/ids.ts";
import type { Message } from "./message.ts";

/** One durable write: all of it, or nothing that is visible after a crash. */
export interface LogAppend {
  /** Null: unchanged. */
  readonly hardState: HardState | null;
  /** Contiguous; when the first one's index is not past the log's end, the log is cut there. */
  readonly entries: readonly Entry[];
}

/** A read barrier that a majority confirmed: serve the read when applied >= index. */
export interface ReadConfirmed {
  readonly request: number;
  readonly index: Index;
}

/** Entries older than the tail in memory, wanted from disk; answered by raft.entriesLoaded. */
export interface EntriesWanted {
  readonly first: Index;
  /** Last index wanted, included. */
  readonly last: Index;
  readonly bytesMax: number;
  /** For whom: a follower that is behind, or "apply" for this member's own machine. */
  readonly purpose: MemberId | "apply";
}

export type Role = "follower" | "preCandidate" | "candidate" | "leader";

export interface Ready {
  readonly messages: readonly Message[];
  readonly append: LogAppend | null;
  /** Names `append` in raft.synced; strictly increasing. 0 when append is null. */
  readonly sync: number;
  /** None when append is null. */
  readonly messagesAfterSync: readonly Message[];
  /** Committed, and durable here. Each index exactly once, in order. */
  readonly committed: readonly Entry[];
  readonly reads: readonly ReadConfirmed[];
  /** Barriers that cannot be confirmed any more (leader lost, or asked of a member that is not). */
  readonly readsFailed: readonly number[];
  /** Batches of this member's that are certainly in no log: the leader was at its limit. */
  readonly batchesRefused: readonly number[];
  readonly wanted: readonly EntriesWanted[];
}

export interface RaftStatus {
  readonly id: MemberId;
  readonly role: Role;
  readonly term: Term;
  readonly leader: MemberId | null;
  readonly commit: Index;
  readonly last: Index;
  /** Highest index durable on this member. */
  readonly durable: Index;
}
