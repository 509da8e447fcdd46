// What the leader and its followers remember of read barriers under way; read-index.ts says how
// they move. Kept apart because the state record holds it and the rules work on that record.
import type { Index, MemberId } from "../base/ids.ts";
import type { ReadConfirmed } from "./ready.ts";

/** A barrier: of this member's own loop (`from` null), or of another member. */
export interface ReadRequest {
  readonly from: MemberId | null;
  readonly request: number;
  readonly start: number;
}

interface ReadRound {
  readonly round: number;
  readonly index: Index;
  readonly requests: readonly ReadRequest[];
}

export interface ReadsState {
  /** Last round sent in this leadership; 0: none. */
  round: number;
  /** In no round yet. */
  waiting: ReadRequest[];
  /** Sent and unconfirmed, rising in round and index. */
  rounds: ReadRound[];
  /** Requests in waiting and rounds; at most readsPendingMax. */
  pendingCount: number;
  /** Asked of the leader: request and the tick it is forgotten at, oldest first. */
  readonly forwarded: Map<number, number>;
  /** For the next ready. */
  confirmed: ReadConfirmed[];
  failed: number[];
}

export function newReads(): ReadsState {
  return {
    round: 0,
    waiting: [],
    rounds: [],
    pendingCount: 0,
    forwarded: new Map(),
    confirmed: [],
    failed: [],
  };
}
