// A clock that stands still until a test moves it. Timers due at one moment fire in the order they
// were set; what `soon` was given runs first. Deliberately no promises: after moving the clock a
// test lets pending promises run by awaiting what it waits for.
import type { Clock, Timer } from "../../src/base/clock.ts";

interface Pending {
  readonly at: number;
  readonly order: number;
  readonly fire: () => void;
}

export class FakeClock implements Clock {
  #now: number;
  #order = 0;
  readonly #timers = new Set<Pending>();
  #soon: (() => void)[] = [];

  constructor(start = 0) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  after(delayMs: number, fire: () => void): Timer {
    const pending = { at: this.#now + Math.max(0, delayMs), order: this.#order++, fire };
    this.#timers.add(pending);
    return { cancel: () => this.#timers.delete(pending) };
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  /** Runs what `soon` holds, and what that adds, without moving time. */
  settle(): void {
    while (this.#soon.length > 0) {
      const [run, ...rest] = this.#soon;
      this.#soon = rest;
      run?.();
    }
  }

  /** Moves time, firing each timer at its own moment. */
  advance(ms: number): void {
    const end = this.#now + ms;
    this.settle();
    for (;;) {
      const due = [...this.#timers]
        .filter((timer) => timer.at <= end)
        .toSorted((left, right) => left.at - right.at || left.order - right.order)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.fire();
      this.settle();
    }
    this.#now = end;
  }

  /** Timers set and neither fired nor cancelled. */
  timerCount(): number {
    return this.#timers.size;
  }
}
