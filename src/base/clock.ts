// Time as the product sees it: monotonic milliseconds and timers, never the wall clock (rule J2).
// Two forms: the real one below main.ts, and the simulator's.

/** A pending timer. Cancelling one that fired is harmless. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds, fractional; the origin means nothing. */
  now(): number;
  /** Calls `fire` once, not before `delayMs` have passed. */
  after(delayMs: number, fire: () => void): Timer;
  /** Calls `run` after the input that is already waiting has been taken: one turn of the loop. */
  soon(run: () => void): void;
}
