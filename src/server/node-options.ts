// Every limit and duration of the node in one frozen record, derived from the four figures that
// an operator may set. Each of the rest has its reason here; none is configurable.
import type { Identity } from "../wal/log.ts";
import type { RaftConfig } from "../raft/config.ts";
import { assert } from "../base/assert.ts";

/** What the operator says; defaults are the flags' business. */
export interface NodeSettings {
  readonly name: string;
  readonly clientUrls: readonly string[];
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly requestBytesMax: number;
  /** Seeds election jitter. */
  readonly seed: number;
}

export interface NodeOptions extends NodeSettings {
  /** One raft tick. */
  readonly tickMs: number;
  readonly heartbeatTicks: number;
  readonly electionTicks: number;
  /** As etcd: 5 s + 2 x election timeout. */
  readonly requestTimeoutMs: number;
  /** Waiters are looked through this often: how late a timeout may be. */
  readonly sweepMs: number;
  readonly proposalsPendingMax: number;
  readonly proposalBytesPendingMax: number;
  /** Committed and not applied entries beyond which proposals are refused (as etcd). */
  readonly appliedLagMax: number;
  /** Bytes of commands handed to raft in one piece: one forwarded message. */
  readonly proposeBytesMax: number;
  readonly barriersPendingMax: number;
  /** Confirmation rounds under way; barriers that come meanwhile share the next one. */
  readonly readRoundsMax: number;
  /** A round without an answer is given up, and asked anew under another id (as etcd). */
  readonly readRetryMs: number;
  /** Messages waiting for the loop; more are dropped, as a network may. */
  readonly inboxMessagesMax: number;
  /** Time for applying in one turn, so that heartbeats keep flowing (J8). */
  readonly applyBudgetMs: number;
  /** Rows are given to LevelDB when so many bytes of them have gathered, or the newest batch is so
   * old; looked at in every turn, and so at every tick. */
  readonly flushBytes: number;
  readonly flushMs: number;
  /** Unflushed rows beyond which nothing is applied until LevelDB has caught up. */
  readonly overlayBytesMax: number;
  /** Rows looked at in one slice of physical compaction. */
  readonly compactRowsPerSlice: number;
  /** A sync that takes longer ends the process: a hung disk does not come back (D12). */
  readonly diskHangMs: number;
  readonly leaseCheckMs: number;
  /** Leases in one expiry proposal, and the most proposed at one check (as etcd). */
  readonly leaseExpiriesPerCheck: number;
  readonly leaseExpiriesInFlightMax: number;
  readonly leaseCallsPendingMax: number;
  /** Renewals in one call to the leader, and such calls under way. */
  readonly leaseRenewalsPerCall: number;
  readonly leaseRenewalCallsMax: number;
  /** Pause before a lease call looks again for a leader, or for the end of its lease. */
  readonly leaseRetryMs: number;
  /** Pause before a refused publication of this member's attributes is tried again. */
  readonly publishRetryMs: number;
  /** How long stop() waits for proposals under way. */
  readonly stopGraceMs: number;
}

export function nodeOptions(settings: NodeSettings): NodeOptions {
  const { heartbeatMs, electionMs } = settings;
  assert(electionMs >= 5 * heartbeatMs, "the election timeout is less than 5 heartbeats");
  // Five ticks a heartbeat: fine enough that two candidates rarely draw the same timeout.
  const heartbeatTicks = 5;
  const tickMs = heartbeatMs / heartbeatTicks;
  return Object.freeze({
    ...settings,
    tickMs,
    heartbeatTicks,
    electionTicks: Math.ceil(electionMs / tickMs),
    requestTimeoutMs: 5000 + 2 * electionMs,
    sweepMs: 100,
    proposalsPendingMax: 20_000,
    proposalBytesPendingMax: 128 << 20,
    appliedLagMax: 5000,
    proposeBytesMax: 1 << 20,
    barriersPendingMax: 50_000,
    readRoundsMax: 2,
    readRetryMs: 500,
    inboxMessagesMax: 16_384,
    applyBudgetMs: 10,
    flushBytes: 256 << 10,
    flushMs: 20,
    // What gathers while one batch is written is the next batch, and LevelDB's tables are as large
    // as batches: with large values this bound decides what a member weighs.
    overlayBytesMax: 8 << 20,
    compactRowsPerSlice: 500,
    diskHangMs: 60_000,
    leaseCheckMs: 500,
    leaseExpiriesPerCheck: 500,
    leaseExpiriesInFlightMax: 8000,
    leaseCallsPendingMax: 50_000,
    leaseRenewalsPerCall: 4096,
    leaseRenewalCallsMax: 4,
    leaseRetryMs: 50,
    publishRetryMs: 500,
    stopGraceMs: 1000,
  });
}

/** Limits of consensus that follow from the node's. */
export function raftConfig(options: NodeOptions, identity: Identity): RaftConfig {
  return {
    id: identity.member,
    start: identity.start,
    electionTicksMin: options.electionTicks,
    heartbeatTicks: options.heartbeatTicks,
    appendBytesMax: 1 << 20,
    inflightCountMax: 128,
    inflightBytesMax: 8 << 20,
    uncommittedBytesMax: 64 << 20,
    // As much as may be under way to a follower; who is further behind is served from disk. Each
    // byte here costs more than itself: entries that live long are freed by full collections only.
    tailBytesMax: 8 << 20,
    committedBytesMax: 4 << 20,
    readsPendingMax: 4096,
    seed: options.seed,
  };
}
