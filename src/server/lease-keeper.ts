// Lease time, kept by the leader alone: grants and renewals set deadlines here, and a lease that
// passed its own is expired through the log (R19). Followers forward.
//
//   granted/promoted --> alive(deadline) --deadline passed--> expiring --entry applied--> gone
//                          ^   | renewed                      (never renewed again in this term)
//                          +---+
//
// Never early: lease time stands still while the process does, so renewals that wait in sockets
// after a pause are taken before anything expires (P4); a new leader gives every lease its full
// TTL plus an election timeout; an expiry names its term and dies in any other, and names the index
// it was judged at, so that it spares a later lease of the same id; and a renewal is answered only
// after a leadership confirmation that began after it arrived, so a deposed leader acknowledges
// none (I43). Late is allowed. Deadlines are in no log: a crash forgets them, and the next leader
// starts every lease anew.
import { assert } from "../base/assert.ts";
import { RequestError, grpcStatus } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Index, LeaseId, MemberId, Term } from "../base/ids.ts";
import type { Logger } from "../base/logger.ts";
import type { LeaseForwarding, Transport } from "../peer/transport.ts";
import { Command } from "../proto/keelson/command.ts";
import type { Leases } from "../state/lease.ts";
import type { Outcome } from "../state/outcome.ts";
import type { CallLimits } from "./call-limits.ts";
import { LeaseDeadlines } from "./lease-deadlines.ts";
import { LeaseRenewals } from "./lease-renewals.ts";
import type { NodeOptions } from "./node-options.ts";
import type { Proposals } from "./proposals.ts";
import type { Reads } from "./reads.ts";

export interface LeaseTimeLeft {
  /** Whole seconds; -1: no such lease. */
  readonly ttl: number;
  readonly grantedTtl: number;
}

interface LeaseKeeperDeps {
  readonly self: MemberId;
  readonly leases: Leases;
  /** Of the newest entry that `leases` has seen. */
  readonly appliedIndex: () => Index;
  readonly proposals: Proposals;
  readonly reads: Reads;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Gets the loop to run after something was given to proposals or reads. */
  readonly wake: () => void;
}

/** What only a leader has; made at promotion, dropped with the term. */
interface Leadership {
  readonly term: Term;
  readonly deadlines: LeaseDeadlines;
  /** Proposed to expire and not gone yet. At most leaseExpiriesInFlightMax. */
  readonly expiring: Set<LeaseId>;
  /** Prune the deadlines of revoked leases at this size. */
  pruneSize: number;
}

const pruneSizeMin = 1024;
/** In place of a renewed lease's TTL: its expiry is under way. */
const ttlUnknown = -1;
const neverAborted = new AbortController().signal;

export class LeaseKeeper implements LeaseForwarding {
  readonly #deps: LeaseKeeperDeps;
  readonly #options: NodeOptions;
  #leader: MemberId | null = null;
  /** To #leader, when that is another member. */
  #renewals: LeaseRenewals | null = null;
  #leadership: Leadership | null = null;
  /** Lease time at the last check, in milliseconds, and the clock's time of it. */
  #leaseTime = 0;
  #checkedAt: number;
  /** Calls under way on this member. At most leaseCallsPendingMax. */
  #callCount = 0;
  /** Since the start, while this member led. */
  #renewedCount = 0;
  #isStopped = false;

  constructor(deps: LeaseKeeperDeps, options: NodeOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#checkedAt = deps.clock.now();
  }

  /** After each turn, before anything that waited for it goes on. */
  observe(leader: MemberId | null, term: Term): void {
    if (leader !== this.#leader) this.#follow(leader);
    if (leader !== this.#deps.self) this.#leadership = null;
    else if (this.#leadership?.term !== term) this.#promote(term);
  }

  #follow(leader: MemberId | null): void {
    const { self, transport, clock } = this.#deps;
    this.#leader = leader;
    // What the earlier leader was asked already ends by itself.
    this.#renewals?.stop();
    this.#renewals =
      leader === null || leader === self
        ? null
        : new LeaseRenewals({ leader: transport.leases(leader), clock }, this.#options);
  }

  #promote(term: Term): void {
    const deadlines = new LeaseDeadlines(this.#leaseNow());
    this.#leadership = { term, deadlines, expiring: new Set(), pruneSize: pruneSizeMin };
    const { leases } = this.#deps;
    for (const id of leases.list()) this.#extend(id, this.#options.electionMs);
  }

  #extend(id: LeaseId, extraMs: number): void {
    const lease = this.#deps.leases.get(id);
    if (lease === undefined || this.#leadership === null) return;
    this.#leadership.deadlines.set(id, this.#leaseNow() + lease.ttl * 1000 + extraMs);
  }

  /** An entry of this term was applied. */
  applied(outcome: Outcome, term: Term): void {
    if (outcome.type !== "leaseGrant") return;
    const id = outcome.response.ID as LeaseId;
    // A new lease of an old name: what the old one left here is not its.
    this.#leadership?.expiring.delete(id);
    this.#leadership?.deadlines.delete(id);
    // An earlier leader may have answered this grant already.
    this.#extend(id, term === this.#leadership?.term ? 0 : this.#options.electionMs);
  }

  /** Advances lease time, and proposes the expiry of what is over. Called at least every check. */
  tick(): void {
    const now = this.#deps.clock.now();
    const elapsed = now - this.#checkedAt;
    if (elapsed < this.#options.leaseCheckMs) return;
    this.#leaseTime = this.#leaseNow();
    this.#checkedAt = now;
    // A longer time was a pause, and what it held up comes first.
    if (elapsed <= 2 * this.#options.leaseCheckMs) this.#expireDue();
  }

  /** Lease time: goes with the clock, but no further than two checks over a pause. */
  #leaseNow(): number {
    const elapsed = this.#deps.clock.now() - this.#checkedAt;
    return this.#leaseTime + Math.min(elapsed, 2 * this.#options.leaseCheckMs);
  }

  #expireDue(): void {
    const leadership = this.#leadership;
    if (leadership === null) return;
    const { leases } = this.#deps;
    const { deadlines, expiring } = leadership;
    if (deadlines.size() > leadership.pruneSize) {
      deadlines.prune((id) => leases.has(id));
      leadership.pruneSize = Math.max(pruneSizeMin, 2 * deadlines.size());
    }
    const room = this.#options.leaseExpiriesInFlightMax - expiring.size;
    const countMax = Math.min(this.#options.leaseExpiriesPerCheck, room);
    const due = deadlines.due(this.#leaseTime, countMax).filter((id) => leases.has(id));
    if (due.length === 0) return;
    for (const id of due) expiring.add(id);
    void this.#expire(due, leadership);
  }

  /** Proposes until the leases are gone or the term is: an unknown fate may still revoke them. */
  async #expire(ids: readonly LeaseId[], leadership: Leadership): Promise<void> {
    const { leases, appliedIndex, proposals, clock, wake, logger } = this.#deps;
    for (;;) {
      const left = ids.filter((id) => leases.has(id) && leadership.expiring.has(id));
      if (left.length === 0 || this.#leadership !== leadership || this.#isStopped) break;
      const request = {
        $case: "leaseExpire" as const,
        value: { IDs: [...left], term: leadership.term, judgedIndex: appliedIndex() },
      };
      try {
        const proposal = proposals.add(Command.encode({ request, proposal: undefined }).finish(), {
          deadline: clock.now() + this.#options.requestTimeoutMs,
          signal: neverAborted,
        });
        wake();
        await proposal;
        logger.debug({ leases: left.length }, "leases expired");
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        logger.warn({ leases: left.length, cause: error.message }, "lease expiry waits");
        await this.#pause(this.#options.leaseCheckMs);
      }
    }
    for (const id of ids) leadership.expiring.delete(id);
  }

  /** On any member: the granted TTL in seconds; 0: no such lease. */
  keepAlive(id: LeaseId, limits: CallLimits): Promise<number> {
    return this.#ask(limits, {
      own: async (own) => known((await this.#renewOwn([id], own))[0]),
      forwarded: async () => {
        assert(this.#renewals !== null, "another member leads, and has no renewals");
        return known(await this.#renewals.renew(id));
      },
    });
  }

  /** On any member. */
  timeToLive(id: LeaseId, limits: CallLimits): Promise<LeaseTimeLeft> {
    return this.#ask(limits, {
      own: (own) => this.#remainingOwn(id, own),
      forwarded: (leader) => this.#deps.transport.leases(leader).remaining(id),
    });
  }

  /** Asked by another member; refuses when this one does not lead. */
  renew(leases: readonly string[]): Promise<readonly number[]> {
    return this.#counted(() => this.#renewOwn(leases as LeaseId[], this.#forwardedLimits()));
  }

  /** As renew. */
  remaining(lease: string): Promise<LeaseTimeLeft> {
    return this.#counted(() => this.#remainingOwn(lease as LeaseId, this.#forwardedLimits()));
  }

  renewedCount(): number {
    return this.#renewedCount;
  }

  stop(): void {
    this.#isStopped = true;
    this.#leadership = null;
    this.#follow(null);
  }

  async #renewOwn(ids: readonly LeaseId[], limits: CallLimits): Promise<number[]> {
    const { expiring } = await this.#confirmed(limits);
    return ids.map((id) => {
      const lease = this.#deps.leases.get(id);
      if (lease === undefined) return 0;
      // Whether it still exists is known when its expiry was applied.
      if (expiring.has(id)) return ttlUnknown;
      this.#extend(id, 0);
      this.#renewedCount += 1;
      return lease.ttl;
    });
  }

  async #remainingOwn(id: LeaseId, limits: CallLimits): Promise<LeaseTimeLeft> {
    const leadership = await this.#confirmed(limits);
    const lease = this.#deps.leases.get(id);
    if (lease === undefined) return { ttl: -1, grantedTtl: 0 };
    const now = this.#leaseNow();
    const deadline = leadership.deadlines.get(id) ?? now;
    const ttl = Math.floor(Math.max(0, deadline - now) / 1000);
    return { ttl: Math.min(ttl, lease.ttl), grantedTtl: lease.ttl };
  }

  /** The leadership, confirmed by a majority after the call arrived, and caught up. */
  async #confirmed(limits: CallLimits): Promise<Leadership> {
    const leadership = this.#leadership;
    if (leadership === null) throw RequestError.of("notPrimaryLessor");
    const barrier = this.#deps.reads.barrier(limits);
    this.#deps.wake();
    await barrier;
    if (this.#leadership !== leadership) throw RequestError.of("notPrimaryLessor");
    return leadership;
  }

  /** Asks whoever leads until one answers (as etcd), or until the limits end it. */
  #ask<Answer>(
    limits: CallLimits,
    call: {
      own: (limits: CallLimits) => Promise<Answer>;
      forwarded: (leader: MemberId) => Promise<Answer>;
    },
  ): Promise<Answer> {
    const { clock, self } = this.#deps;
    const deadline = Math.min(limits.deadline, clock.now() + this.#options.requestTimeoutMs);
    const bounded = { deadline, signal: limits.signal };
    return this.#counted(async () => {
      for (;;) {
        const leader = this.#leader;
        let refusal = RequestError.of("noLeader");
        if (leader !== null) {
          try {
            if (leader === self) return await call.own(bounded);
            return await call.forwarded(leader);
          } catch (error) {
            if (!(error instanceof RequestError) || !isWorthAsking(error)) throw error;
            refusal = error;
          }
        }
        if (clock.now() + this.#options.leaseRetryMs >= deadline) throw refusal;
        this.#checkLimits(bounded);
        await this.#pause(this.#options.leaseRetryMs);
      }
    });
  }

  async #counted<Answer>(call: () => Promise<Answer>): Promise<Answer> {
    if (this.#callCount >= this.#options.leaseCallsPendingMax) {
      throw RequestError.of("requestTooManyRequests");
    }
    this.#callCount += 1;
    try {
      return await call();
    } finally {
      this.#callCount -= 1;
    }
  }

  #forwardedLimits(): CallLimits {
    const deadline = this.#deps.clock.now() + this.#options.requestTimeoutMs;
    return { deadline, signal: neverAborted };
  }

  #checkLimits({ deadline, signal }: CallLimits): void {
    if (this.#isStopped) throw RequestError.of("stopped");
    if (signal.aborted) throw RequestError.of("canceled");
    if (this.#deps.clock.now() >= deadline) throw RequestError.of("timeout");
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#deps.clock.after(delayMs, resolve);
    });
  }
}

/** Throws while the answer is not known; asking again will tell. */
function known(ttl: number | undefined): number {
  assert(ttl !== undefined, "a renewal without an answer");
  if (ttl === ttlUnknown) throw RequestError.of("timeout");
  return ttl;
}

/** Another leader, or the same one later, may answer. */
function isWorthAsking({ status }: RequestError): boolean {
  return status === grpcStatus.unavailable || status === grpcStatus.unknown;
}
