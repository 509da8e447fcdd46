// The node: the one loop that owns consensus and the machine. Everything else posts into its inbox
// and is served a turn later; a turn is synchronous, and nothing else touches either (J3).
//
//   inbox (messages, syncs, loads, time, proposals, reads)
//     -> raft -> ready: messages leave | one write to the log, then what had to wait for it |
//                committed entries -> applier -> outcomes, events | confirmed reads
//     -> flush of the overlay, a slice of compaction
//
// Order inside a turn is a rule, not a habit: messages are taken before time, so that a process
// that was paused hears its leader before it judges it silent (J1); the log gets its write before
// anything that relies on it leaves (R5). The work is spread over collaborators with small
// surfaces; this file only composes. An exception in a turn is a bug or a broken machine: it goes
// to `fatal`, which ends the process, and the log decides what was true.
//
//   new --start--> running --stop--> stopping (finishes what it has) --> stopped
import { assert } from "../base/assert.ts";
import { RequestError } from "../base/errors.ts";
import type { ErrorCode } from "../base/errors.ts";
import type { Clock, Timer } from "../base/clock.ts";
import type { ClusterId, Index, MemberId, Revision, Term } from "../base/ids.ts";
import type { Logger } from "../base/logger.ts";
import type { Transport, TransportReceiver } from "../peer/transport.ts";
import type { RangeRequest, RangeResponse } from "../proto/etcdserverpb/kv.ts";
import type { ResponseHeader } from "../proto/etcdserverpb/header.ts";
import type { Message } from "../raft/message.ts";
import type { Raft } from "../raft/raft.ts";
import type { RaftStatus, Ready, Role } from "../raft/ready.ts";
import type { Machine } from "../state/machine.ts";
import type { Outcome } from "../state/outcome.ts";
import type { CheckedStore } from "../store/checked-store.ts";
import type { Log } from "../wal/log.ts";
import { Applier } from "./applier.ts";
import type { CallLimits } from "./call-limits.ts";
import { Compaction } from "./compaction.ts";
import { DiskWatch } from "./disk-watch.ts";
import type { DiskStall } from "./disk-watch.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { LogPump } from "./log-pump.ts";
import { Membership } from "./members.ts";
import type { NodeOptions } from "./node-options.ts";
import { OperationCounts } from "./operation-counts.ts";
import type { OperationCounted } from "./operation-counts.ts";
import { Proposals } from "./proposals.ts";
import { readRange } from "./range.ts";
import { Reads } from "./reads.ts";
import { TickCounter } from "./tick-counter.ts";
import type { WatchHub } from "./watch-hub.ts";

export type { CallLimits } from "./call-limits.ts";

export interface NodeStatus {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  readonly leader: MemberId | null;
  readonly role: Role;
  readonly term: Term;
  readonly last: Index;
  readonly commit: Index;
  readonly applied: Index;
  readonly revision: Revision;
  readonly isLearner: boolean;
}

export interface NodeDeps {
  readonly raft: Raft;
  readonly log: Log;
  readonly transport: Transport;
  readonly machine: Machine;
  readonly store: CheckedStore;
  readonly watchHub: WatchHub;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the process; called at most once. */
  readonly fatal: (error: unknown) => void;
}

export interface NodeCounts extends OperationCounted {
  readonly proposalsPending: number;
  readonly proposalsFailed: number;
  readonly leasesRenewed: number;
}

const neverAborted = new AbortController().signal;

type NodeState = "new" | "running" | "stopping" | "stopped";

export class Node implements TransportReceiver {
  readonly machine: Machine;
  readonly watchHub: WatchHub;
  readonly leases: LeaseKeeper;
  readonly #deps: NodeDeps;
  readonly #options: NodeOptions;
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #reads: Reads;
  readonly #applier: Applier;
  readonly #compaction: Compaction;
  readonly #membership: Membership;
  readonly #logPump: LogPump;
  readonly #diskWatch: DiskWatch;
  readonly #ticks: TickCounter;
  readonly #operations = new OperationCounts();
  #state: NodeState = "new";
  /** Messages not yet stepped. At most inboxMessagesMax. */
  #inbox: Message[] = [];
  /** Their connection was reset since the last turn. */
  readonly #lostPeers = new Set<MemberId>();
  #isTurnDue = false;
  /** The transport runs. Not before what was known committed is applied again: the replicated
   * store ids must be known when peers introduce themselves. */
  #hasJoined = false;
  #raftStatus: RaftStatus;
  #diskStall: DiskStall = "none";
  #tickTimer: Timer | null = null;
  #sweptAt: number;
  #stopBy = Infinity;
  #drained: () => void = () => {};

  constructor(deps: NodeDeps, options: NodeOptions) {
    const { raft, log, transport, machine, store, clock, logger } = deps;
    const { identity } = log.recovered;
    const wake = () => this.#wake();
    this.#deps = deps;
    this.#options = options;
    this.#raft = raft;
    this.#raftStatus = raft.status();
    this.machine = machine;
    this.watchHub = deps.watchHub;
    this.#proposals = new Proposals({ clock, identity }, options);
    this.#reads = new Reads({ clock }, options);
    const { leases } = machine;
    const self = identity.member;
    this.leases = new LeaseKeeper(
      {
        self,
        leases,
        appliedIndex: () => machine.appliedId().index,
        proposals: this.#proposals,
        reads: this.#reads,
        transport,
        clock,
        logger,
        wake,
      },
      options,
    );
    this.#applier = new Applier({ machine, store, clock }, options);
    this.#compaction = new Compaction({ mvcc: machine.mvcc, clock }, options);
    this.#membership = new Membership(
      { members: machine.members, identity, clock, logger },
      options,
    );
    this.#logPump = new LogPump({ log, wake, fatal: (error) => this.#fail(error) });
    this.#diskWatch = new DiskWatch({ electionMs: options.electionMs, hangMs: options.diskHangMs });
    this.#sweptAt = clock.now();
    this.#ticks = new TickCounter(this.#sweptAt, {
      tickMs: options.tickMs,
      creditMax: options.heartbeatTicks,
    });
  }

  start(): void {
    assert(this.#state === "new", "a node starts once");
    this.#membership.checkOwn();
    this.#state = "running";
    this.#armTick();
    this.#wake();
    const publishing = this.#membership.publish((command) =>
      this.propose(command, { deadline: Infinity, signal: neverAborted }),
    );
    publishing.catch((error: unknown) => this.#fail(error));
  }

  /** Refuses new work, gives what is under way a moment to end, and closes transport and log. The
   * store stays open for reads under way; closing it, after them, is its opener's business. */
  async stop(): Promise<void> {
    if (this.#state !== "running") return;
    this.#state = "stopping";
    this.#stopBy = this.#deps.clock.now() + this.#options.stopGraceMs;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      this.#wake();
    });
    this.#end();
    await this.#deps.transport.close();
    await this.#deps.log.close();
  }

  /** `command` is an encoded keelson.Command without `proposal`. */
  propose(command: Uint8Array, limits: CallLimits): Promise<Outcome> {
    if (this.#state !== "running") return refused("stopped");
    const lag = this.#raftStatus.commit - this.#applier.applied();
    if (lag > this.#options.appliedLagMax) return refused("requestTooManyRequests");
    const outcome = this.#proposals.add(command, limits);
    this.#wake();
    return outcome;
  }

  /** Resolves when this member has applied everything acknowledged before the call. */
  barrier(limits: CallLimits): Promise<void> {
    if (this.#state !== "running") return refused("stopped");
    const barrier = this.#reads.barrier(limits);
    this.#wake();
    return barrier;
  }

  /** From the newest state applied here. */
  async range(request: RangeRequest): Promise<RangeResponse> {
    const { store, clock } = this.#deps;
    this.#operations.ranged();
    const answer = await readRange({ mvcc: this.machine.mvcc, store, clock }, request);
    if (typeof answer === "string") throw RequestError.of(answer);
    return answer;
  }

  /** One key of the newest state applied here: its KeyValue in protobuf's form. */
  latest(key: Uint8Array): Uint8Array | undefined {
    this.#operations.ranged();
    return this.machine.mvcc.latestRow(key);
  }

  /** Resolves when a compaction that is applied here has removed its rows. */
  compactionDone(limits: CallLimits): Promise<void> {
    return this.#state === "running" ? this.#compaction.done(limits) : refused("stopped");
  }

  status(): NodeStatus {
    const { cluster, member } = this.#deps.log.recovered.identity;
    return {
      clusterId: cluster,
      memberId: member,
      leader: this.#raftStatus.leader,
      role: this.#raftStatus.role,
      term: this.#raftStatus.term,
      last: this.#raftStatus.last,
      commit: this.#raftStatus.commit,
      applied: this.#applier.applied(),
      revision: this.machine.mvcc.revision(),
      isLearner: this.#membership.own().isLearner,
    };
  }

  /** Since the start. */
  counts(): NodeCounts {
    return {
      ...this.#operations.counts(),
      proposalsPending: this.#proposals.pendingCount(),
      proposalsFailed: this.#proposals.failedCount(),
      leasesRenewed: this.leases.renewedCount(),
    };
  }

  header(revision: Revision): ResponseHeader {
    const { cluster, member } = this.#deps.log.recovered.identity;
    return { clusterId: cluster, memberId: member, revision, raftTerm: this.#raftStatus.term };
  }

  receive(message: Message): void {
    if (this.#inbox.length >= this.#options.inboxMessagesMax) return;
    this.#inbox.push(message);
    this.#wake();
  }

  disconnected(peer: MemberId): void {
    this.#lostPeers.add(peer);
    this.#wake();
  }

  #wake(): void {
    if (this.#isTurnDue || this.#state === "new" || this.#state === "stopped") return;
    this.#isTurnDue = true;
    this.#deps.clock.soon(() => this.#turn());
  }

  #turn(): void {
    this.#isTurnDue = false;
    if (this.#state === "stopped") return;
    try {
      this.#takeMessages();
      this.#takeDisk();
      this.#takeTime();
      this.#proposals.hand(this.#raft);
      this.#reads.hand(this.#raft);
      if (this.#raft.hasReady()) this.#carryOut(this.#raft.ready());
      this.#apply();
      if (!this.#applier.isOverlayFull()) this.#compaction.step();
      this.#flush();
      this.#endTurn();
    } catch (error) {
      // Every exception: the loop's state can no longer be trusted.
      this.#fail(error);
    }
  }

  #takeMessages(): void {
    const messages = this.#inbox;
    if (messages.length > 0) this.#inbox = [];
    for (const message of messages) this.#raft.step(message);
    for (const peer of this.#lostPeers) this.#raft.leaderDisconnected(peer);
    this.#lostPeers.clear();
  }

  #takeDisk(): void {
    for (const { sync, messages } of this.#logPump.takeSynced()) {
      this.#raft.synced(sync);
      this.#send(messages);
    }
    for (const { wanted, entries } of this.#logPump.takeLoaded()) {
      this.#raft.entriesLoaded(wanted, entries);
    }
  }

  #takeTime(): void {
    const now = this.#deps.clock.now();
    const ticks = this.#ticks.take(now);
    if (ticks > 0) this.#watchDisk(ticks * this.#options.tickMs);
    // Before it joined nobody can be heard, and nobody is silent.
    if (this.#hasJoined) for (let i = 0; i < ticks; i++) this.#raft.tick();
    this.leases.tick();
    if (now - this.#sweptAt < this.#options.sweepMs) return;
    this.#sweptAt = now;
    this.#sweep();
  }

  #watchDisk(countedMs: number): void {
    const stall = this.#diskWatch.observe(this.#deps.log.syncAgeMs(), countedMs);
    if (stall === this.#diskStall) return;
    this.#diskStall = stall;
    this.#deps.logger.warn({ stall, syncAgeMs: this.#deps.log.syncAgeMs() }, "disk stall");
    if (stall === "hung") {
      throw new Error(`the log's disk has not answered for ${this.#options.diskHangMs} ms`);
    }
    this.#raft.diskStall(stall);
  }

  #sweep(): void {
    const { leader, term, id } = this.#raftStatus;
    const reachable =
      leader !== null && (leader === id || this.#deps.transport.connected().includes(leader));
    this.#proposals.sweep({ leader, term, reachable });
    this.#reads.sweep(leader !== null);
    this.#compaction.sweep();
  }

  #carryOut(ready: Ready): void {
    this.#send(ready.messages);
    if (ready.append !== null) this.#logPump.write(ready.append, ready);
    this.#logPump.load(ready.wanted);
    this.#applier.add(ready.committed);
    this.#reads.confirmed(ready.reads);
    this.#reads.failed(ready.readsFailed);
    this.#proposals.refused(ready.batchesRefused);
  }

  #send(messages: readonly Message[]): void {
    if (messages.length > 0 && this.#hasJoined) this.#deps.transport.send(messages);
  }

  #apply(): void {
    const steps = this.#applier.run();
    for (const { entry, applied } of steps) {
      const { outcome, proposal, events } = applied;
      this.#proposals.applied(entry.term);
      this.leases.applied(outcome, entry.term);
      this.#operations.applied(outcome);
      if (outcome.type === "compaction") this.#compaction.begin();
      if (events !== null) this.watchHub.publish(events);
      if (proposal !== null) this.#proposals.resolve(proposal, outcome);
    }
    const applied = this.#applier.applied();
    if (steps.length > 0) this.#raft.applied(applied);
    this.#reads.serve(applied);
    if (!this.#hasJoined && applied >= this.#deps.log.recovered.hardState.commit) this.#join();
  }

  #join(): void {
    this.#membership.checkOwn();
    this.#hasJoined = true;
    this.#deps.transport.start(this, this.leases);
    this.#wake();
  }

  #flush(): void {
    this.#applier.flush()?.then(
      () => this.#wake(),
      (error: unknown) => this.#fail(error),
    );
  }

  #endTurn(): void {
    const before = this.#raftStatus;
    const after = this.#raft.status();
    this.#raftStatus = after;
    this.leases.observe(after.leader, after.term);
    if (before.leader !== after.leader || before.term !== after.term) {
      const { role, term, leader } = after;
      this.#deps.logger.info({ role, term, leader }, "leadership");
    }
    if (this.#state === "stopping") this.#checkDrained();
    const hasMore =
      this.#raft.hasReady() ||
      this.#applier.canRun() ||
      (this.#compaction.isUnderWay() && !this.#applier.isOverlayFull());
    if (hasMore) this.#wake();
  }

  #checkDrained(): void {
    if (this.#proposals.pendingCount() === 0 || this.#deps.clock.now() >= this.#stopBy) {
      this.#drained();
    }
  }

  #armTick(): void {
    this.#tickTimer = this.#deps.clock.after(this.#options.tickMs, () => {
      this.#armTick();
      this.#wake();
    });
  }

  #fail(error: unknown): void {
    if (this.#state === "stopped") return;
    this.#end();
    this.#deps.fatal(error);
  }

  /** No turn runs any more. */
  #end(): void {
    this.#state = "stopped";
    this.#tickTimer?.cancel();
    this.#proposals.stop();
    this.#reads.stop();
    this.leases.stop();
    this.#compaction.stop();
  }
}

function refused(code: ErrorCode): Promise<never> {
  return Promise.reject(RequestError.of(code));
}
