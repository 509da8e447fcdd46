// Physical compaction, in slices between turns: removes the rows that the logical floor, moved by
// an applied command, made unreachable. Each member does it in its own time; the machine's answers
// do not depend on it. It starts with the node too, since a crash may have left a part undone.
import { RequestError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Mvcc } from "../state/mvcc.ts";
import type { CallLimits } from "./call-limits.ts";
import type { NodeOptions } from "./node-options.ts";

interface Waiter extends CallLimits {
  readonly resolve: () => void;
  readonly reject: (error: RequestError) => void;
}

const waitersMax = 1000;

export class Compaction {
  readonly #mvcc: Mvcc;
  readonly #clock: Clock;
  readonly #options: NodeOptions;
  #isUnderWay = true;
  #waiters: Waiter[] = [];

  constructor(deps: { mvcc: Mvcc; clock: Clock }, options: NodeOptions) {
    this.#mvcc = deps.mvcc;
    this.#clock = deps.clock;
    this.#options = options;
  }

  /** The logical floor has moved. */
  begin(): void {
    this.#isUnderWay = true;
  }

  isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** One slice. */
  step(): void {
    if (!this.#isUnderWay || this.#mvcc.compactStep(this.#options.compactRowsPerSlice)) return;
    this.#isUnderWay = false;
    for (const { resolve } of this.#waiters) resolve();
    this.#waiters = [];
  }

  /** Resolves when every row below the floor is gone; the caller's command must be applied. */
  done(limits: CallLimits): Promise<void> {
    if (!this.#isUnderWay) return Promise.resolve();
    if (this.#waiters.length >= waitersMax) {
      return Promise.reject(RequestError.of("requestTooManyRequests"));
    }
    return new Promise((resolve, reject) => {
      this.#waiters.push({ ...limits, resolve, reject });
    });
  }

  sweep(): void {
    const now = this.#clock.now();
    this.#waiters = this.#waiters.filter(({ deadline, signal, reject }) => {
      if (!signal.aborted && deadline > now) return true;
      reject(RequestError.of(signal.aborted ? "canceled" : "timeout"));
      return false;
    });
  }

  stop(): void {
    for (const { reject } of this.#waiters) reject(RequestError.of("stopped"));
    this.#waiters = [];
  }
}
