// Elapsed time into raft ticks, proof against pauses (rule J1). A process that was stopped, or
// whose loop was busy, finds a late timer before the data that waited in its sockets: a late tick
// is therefore counted only at the next look, after another round of input, and of a long pause at
// most creditMax ticks count at all. Time that does not count makes elections later, never wrong.

export class TickCounter {
  readonly #tickMs: number;
  readonly #creditMax: number;
  #countedTo: number;
  #isDeferred = false;

  constructor(now: number, limits: { tickMs: number; creditMax: number }) {
    this.#countedTo = now;
    this.#tickMs = limits.tickMs;
    this.#creditMax = limits.creditMax;
  }

  /** Whole ticks since the last look. */
  take(now: number): number {
    const elapsed = Math.floor((now - this.#countedTo) / this.#tickMs);
    if (elapsed <= 0) return 0;
    if (elapsed > this.#creditMax && !this.#isDeferred) {
      this.#isDeferred = true;
      return 0;
    }
    this.#isDeferred = false;
    if (elapsed > this.#creditMax) {
      this.#countedTo = now;
      return this.#creditMax;
    }
    this.#countedTo += elapsed * this.#tickMs;
    return elapsed;
  }
}
