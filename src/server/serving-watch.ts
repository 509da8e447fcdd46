// Whether this member can serve, for those who ask from outside of the loop: health streams and
// the count of leader changes. It looks at the node's leader at a fixed pace, so the node needs
// no listeners and nothing here can delay a turn; what comes and goes between two looks is not
// seen, and no term lasts so short.
//
//   running --stopServing--> draining (not serving, whatever the leader) --stop--> stopped
import type { Clock, Timer } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";

/** Half of the shortest heartbeat interval that is of practical use. */
const lookMs = 50;

export class ServingWatch {
  readonly #leader: () => MemberId | null;
  readonly #clock: Clock;
  readonly #waiters = new Set<() => void>();
  #isDraining = false;
  #wasServing = false;
  #known: MemberId | null = null;
  #changes = 0;
  #timer: Timer | null = null;

  constructor(leader: () => MemberId | null, clock: Clock) {
    this.#leader = leader;
    this.#clock = clock;
  }

  start(): void {
    this.#look();
    this.#timer = this.#clock.after(lookMs, () => this.start());
  }

  serving(): boolean {
    return !this.#isDraining && this.#leader() !== null;
  }

  /** Leaders seen, counting each time that it was another one. */
  leaderChanges(): number {
    return this.#changes;
  }

  /** Resolves when `serving` may have changed, or when the signal is aborted. One waiter for each
   * open health stream, whose number the edge bounds. */
  changed(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const settle = () => {
        this.#waiters.delete(settle);
        signal.removeEventListener("abort", settle);
        resolve();
      };
      this.#waiters.add(settle);
      signal.addEventListener("abort", settle);
    });
  }

  /** From the start of a shutdown on. */
  stopServing(): void {
    this.#isDraining = true;
    this.#look();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    const leader = this.#leader();
    if (leader !== null && leader !== this.#known) {
      this.#known = leader;
      this.#changes++;
    }
    const serving = this.serving();
    if (serving === this.#wasServing) return;
    this.#wasServing = serving;
    for (const settle of [...this.#waiters]) settle();
  }
}
