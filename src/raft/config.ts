// What a Raft is built with: limits and identity, fixed for its life. Time is counted in ticks;
// what a tick lasts is the loop's business.
import type { Index, MemberId } from "../base/ids.ts";
import type { Configuration, Entry, HardState } from "./entry.ts";

export interface RaftConfig {
  readonly id: MemberId;
  /** This start's counter, from the identity record. */
  readonly start: number;
  /** Lower bound of the randomised election timeout, in ticks; the upper is twice that, less 1. */
  readonly electionTicksMin: number;
  readonly heartbeatTicks: number;
  /** Bytes of entries in one append message. */
  readonly appendBytesMax: number;
  /** Append messages without an answer, for each follower. */
  readonly inflightCountMax: number;
  readonly inflightBytesMax: number;
  /** Bytes of entries appended by this leader and not committed; more proposals are refused. */
  readonly uncommittedBytesMax: number;
  /** Bytes of entries kept in memory; older ones are read from disk when wanted. */
  readonly tailBytesMax: number;
  /** Bytes of committed entries in one ready. */
  readonly committedBytesMax: number;
  /** Barriers waiting for confirmation; more are refused. */
  readonly readsPendingMax: number;
  /** Seeds the election jitter. */
  readonly seed: number;
}

/** What the disk proved at start. */
export interface RaftRestored {
  readonly hardState: HardState;
  readonly configuration: Configuration;
  /**
   * Newest part of the log, contiguous, about tailBytesMax of it; empty only for an empty log. It
   * reaches down to the commit index (or applied, if higher) whatever that takes: entries that may
   * yet be replaced are compared in memory.
   */
  readonly tail: readonly Entry[];
  /** Term of the entry before the tail; 0 when the tail starts at 1. */
  readonly termBeforeTail: number;
  /** First index on disk, and the applied index of the machine. */
  readonly firstIndex: Index;
  readonly applied: Index;
}
