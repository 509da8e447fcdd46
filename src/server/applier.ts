// Feeds committed entries to the machine, in order, and the rows it writes to LevelDB.
//
// Bounded twice: a slice stops when its time is over, so that heartbeats keep flowing (J8), and
// nothing is applied while the overlay is full (house decision 12). One flush is in flight at a
// time, and starts when enough has gathered or some time has passed: a batch costs LevelDB's thread
// as much as forty rows, and this one a turn. Outcomes are released before their rows are flushed:
// the synced log is the truth, and after a crash the missing rows are applied again.
import type { Clock } from "../base/clock.ts";
import type { Index } from "../base/ids.ts";
import type { Entry } from "../raft/entry.ts";
import type { Machine } from "../state/machine.ts";
import type { AppliedEntry } from "../state/outcome.ts";
import type { CheckedStore } from "../store/checked-store.ts";
import type { NodeOptions } from "./node-options.ts";

export interface AppliedStep {
  readonly entry: Entry;
  readonly applied: AppliedEntry;
}

export class Applier {
  readonly #machine: Machine;
  readonly #store: CheckedStore;
  readonly #clock: Clock;
  readonly #options: NodeOptions;
  /** Committed, in order, from #next on. Bounded by what consensus hands out unapplied. */
  #queue: Entry[] = [];
  #next = 0;
  #flushing: Promise<void> | null = null;
  /** When the newest batch was started. */
  #flushedAt = -Infinity;

  constructor(deps: { machine: Machine; store: CheckedStore; clock: Clock }, options: NodeOptions) {
    this.#machine = deps.machine;
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#options = options;
  }

  add(committed: readonly Entry[]): void {
    for (const entry of committed) this.#queue.push(entry);
  }

  applied(): Index {
    return this.#machine.appliedId().index;
  }

  /** True: run() would apply something now. */
  canRun(): boolean {
    return this.#next < this.#queue.length && !this.isOverlayFull();
  }

  isOverlayFull(): boolean {
    return this.#store.overlayBytes() >= this.#options.overlayBytesMax;
  }

  /** Applies one slice. */
  run(): AppliedStep[] {
    const steps: AppliedStep[] = [];
    const end = this.#clock.now() + this.#options.applyBudgetMs;
    while (this.canRun()) {
      const entry = this.#queue[this.#next] as Entry;
      this.#next += 1;
      steps.push({ entry, applied: this.#machine.apply(entry) });
      if (steps.length % 16 === 0 && this.#clock.now() >= end) break;
    }
    if (this.#next === this.#queue.length) {
      this.#queue = [];
      this.#next = 0;
    }
    return steps;
  }

  /** Starts the next batch if it is due and none is in flight; null: nothing was started. */
  flush(): Promise<void> | null {
    if (this.#flushing !== null) return null;
    const bytes = this.#store.overlayBytes();
    const now = this.#clock.now();
    const { flushBytes, flushMs } = this.#options;
    if (bytes === 0 || (bytes < flushBytes && now - this.#flushedAt < flushMs)) return null;
    this.#flushedAt = now;
    this.#flushing = this.#writeBatch();
    return this.#flushing;
  }

  async #writeBatch(): Promise<void> {
    await this.#store.flush();
    this.#flushing = null;
  }
}
