// How long a caller waits, and what a call that ends too early can say of the leadership: shared
// by proposals, reads, leases and compaction.
import type { MemberId, Term } from "../base/ids.ts";

export interface CallLimits {
  /** Absolute, on the node's clock, in milliseconds; Infinity: the caller set none. */
  readonly deadline: number;
  /** Aborted when the caller is gone. Seen at the next sweep, not at once. */
  readonly signal: AbortSignal;
}

/** The leadership as this member sees it. */
export interface LeaderView {
  readonly term: Term;
  readonly leader: MemberId | null;
  /** The leader is this member, or a live connection to it exists. */
  readonly reachable: boolean;
}
