// The log as the loop sees it: append durably, read back. Two forms keep one contract
// (test/contract/log.ts): the write-ahead log in its worker thread, and the one in memory.
import type { Configuration, Entry, HardState } from "../raft/entry.ts";
import type { LogAppend } from "../raft/ready.ts";
import type { ClusterId, Index, MemberId, StoreId } from "../base/ids.ts";

/** Who this data directory belongs to; in two places on disk (W12). */
export interface Identity {
  readonly cluster: ClusterId;
  readonly member: MemberId;
  readonly store: StoreId;
  /** Counts the starts of this directory, from 1; durable before the first message. */
  readonly start: number;
}

/** What recovery proved. */
export interface Recovered {
  readonly identity: Identity;
  readonly hardState: HardState;
  readonly configuration: Configuration;
  readonly firstIndex: Index;
  /** 0: empty. */
  readonly lastIndex: Index;
  /** Pages of a torn last batch that recovery cut off: unacknowledged by proof. */
  readonly tornPages: number;
}

export interface Log {
  readonly recovered: Recovered;
  /**
   * Resolves when everything in the batch is on disk. Appends given while a sync runs share the
   * next one (group commit); they resolve in the order given. A write or sync error never
   * rejects: it ends the process (W9).
   */
  append(batch: LogAppend): Promise<void>;
  /**
   * Entries first..last that were appended, in order, cut after bytesMax but never empty.
   * Asking outside firstIndex..lastIndex is a bug.
   */
  read(first: Index, last: Index, bytesMax: number): Promise<Entry[]>;
  /** Milliseconds since the oldest unsynced append was given; 0 when none (R4). */
  syncAgeMs(): number;
  /** Waits for what was appended, then lets go of files and lock. */
  close(): Promise<void>;
}
