// Read barriers: a linearizable read waits here until a leadership confirmation that started after
// it arrived names a commit index, and until that index is applied (R9).
//
//   barrier --> gathered --> round (one request id) --> confirmed(index) --> applied >= index: done
//                  ^            | failed, or older than readRetryMs
//                  +------------+ asked anew, under a new id: an id is never used twice (I24)
//
// All barriers that gather while the allowed rounds are under way share the next one. Reads change
// nothing, so they are retried across a change of leader until their deadline. Not here: how a
// leader confirms itself; that is consensus.
import { RequestError } from "../base/errors.ts";
import type { ErrorCode } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Index } from "../base/ids.ts";
import type { Raft } from "../raft/raft.ts";
import type { ReadConfirmed } from "../raft/ready.ts";
import type { CallLimits } from "./call-limits.ts";
import type { NodeOptions } from "./node-options.ts";

interface Barrier {
  readonly deadline: number;
  readonly limits: CallLimits;
  readonly resolve: () => void;
  readonly reject: (error: RequestError) => void;
}

interface Round {
  readonly startedAt: number;
  barriers: Barrier[];
}

/** Confirmed, and waiting for the machine. */
interface Confirmed {
  readonly index: Index;
  barriers: Barrier[];
}

export class Reads {
  readonly #clock: Clock;
  readonly #options: NodeOptions;
  #gathered: Barrier[] = [];
  /** By request id, oldest first. At most readRoundsMax. */
  readonly #rounds = new Map<number, Round>();
  /** In the order confirmed. */
  #confirmed: Confirmed[] = [];
  #lastRequest = 0;
  /** Nothing is asked before: a member without a leader would ask in every turn. */
  #askFrom = 0;
  /** All barriers above. At most barriersPendingMax. */
  #pendingCount = 0;

  constructor(deps: { clock: Clock }, options: NodeOptions) {
    this.#clock = deps.clock;
    this.#options = options;
  }

  barrier(limits: CallLimits): Promise<void> {
    if (this.#pendingCount >= this.#options.barriersPendingMax) {
      return Promise.reject(RequestError.of("requestTooManyRequests"));
    }
    this.#pendingCount += 1;
    return new Promise((resolve, reject) => {
      this.#gathered.push({
        deadline: Math.min(limits.deadline, this.#clock.now() + this.#options.requestTimeoutMs),
        limits,
        resolve,
        reject,
      });
    });
  }

  /** Starts a round for what has gathered, if one may start now. */
  hand(raft: Raft): void {
    if (this.#gathered.length === 0 || this.#rounds.size >= this.#options.readRoundsMax) return;
    const now = this.#clock.now();
    if (now < this.#askFrom) return;
    const request = ++this.#lastRequest;
    this.#rounds.set(request, { startedAt: now, barriers: this.#gathered });
    this.#gathered = [];
    raft.readIndex(request);
  }

  confirmed(reads: readonly ReadConfirmed[]): void {
    for (const { request, index } of reads) {
      const round = this.#rounds.get(request);
      if (round === undefined) continue;
      this.#rounds.delete(request);
      this.#confirmed.push({ index, barriers: round.barriers });
    }
  }

  failed(requests: readonly number[]): void {
    for (const request of requests) {
      if (!this.#rounds.has(request)) continue;
      this.#gatherAgain(request);
      this.#askFrom = this.#clock.now() + this.#options.tickMs;
    }
  }

  /** Serves what was confirmed at or below `applied`. */
  serve(applied: Index): void {
    if (this.#confirmed.length === 0) return;
    const waiting: Confirmed[] = [];
    for (const confirmed of this.#confirmed) {
      if (confirmed.index > applied) {
        waiting.push(confirmed);
        continue;
      }
      this.#pendingCount -= confirmed.barriers.length;
      for (const { resolve } of confirmed.barriers) resolve();
    }
    this.#confirmed = waiting;
  }

  /** Ends what is late, and gives up rounds that were not answered in time. */
  sweep(hasLeader: boolean): void {
    const now = this.#clock.now();
    const code = hasLeader ? "timeout" : "noLeader";
    for (const [request, round] of this.#rounds) {
      if (now - round.startedAt >= this.#options.readRetryMs) this.#gatherAgain(request);
      else round.barriers = this.#endLate(round.barriers, now, code);
    }
    this.#gathered = this.#endLate(this.#gathered, now, code);
    for (const confirmed of this.#confirmed) {
      confirmed.barriers = this.#endLate(confirmed.barriers, now, "timeoutWaitAppliedIndex");
    }
  }

  stop(): void {
    for (const request of [...this.#rounds.keys()]) this.#gatherAgain(request);
    const barriers = [...this.#gathered, ...this.#confirmed.flatMap((read) => read.barriers)];
    for (const { reject } of barriers) reject(RequestError.of("stopped"));
    this.#gathered = [];
    this.#confirmed = [];
    this.#pendingCount = 0;
  }

  #gatherAgain(request: number): void {
    const round = this.#rounds.get(request);
    if (round === undefined) return;
    this.#rounds.delete(request);
    this.#gathered = [...round.barriers, ...this.#gathered];
  }

  /** The barriers that go on. */
  #endLate(barriers: Barrier[], now: number, code: ErrorCode): Barrier[] {
    return barriers.filter(({ deadline, limits, reject }) => {
      const isCanceled = limits.signal.aborted;
      if (!isCanceled && deadline > now) return true;
      this.#pendingCount -= 1;
      reject(RequestError.of(isCanceled ? "canceled" : code));
      return false;
    });
  }
}
