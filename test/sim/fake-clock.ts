// A clock that stands still until a test moves it. Timers due at one moment fire in the order they
// were set; what `soon` was given runs first. Deliberately no promises: after moving the clock a
// test lets pending promises run by awaiting what it waits for, and the simulated cluster, which
// steps from timer to timer, lets them run in between.
import { assert } from "../../src/base/assert.ts";
import type { Clock, Timer } from "../../src/base/clock.ts";

/** A timer that was set, and what its setter holds of it. */
class Pending implements Timer {
  readonly at: number;
  readonly order: number;
  /** Null: fired or cancelled. */
  fire: (() => void) | null;
  /** Of its clock. */
  readonly #live: { count: number };

  constructor(at: number, order: number, fire: () => void, live: { count: number }) {
    this.at = at;
    this.order = order;
    this.fire = fire;
    this.#live = live;
  }

  cancel(): void {
    this.take();
  }

  /** What it would do, which it does not any more. */
  take(): (() => void) | null {
    const { fire } = this;
    if (fire !== null) this.#live.count -= 1;
    this.fire = null;
    return fire;
  }
}

export class FakeClock implements Clock {
  #now: number;
  #order = 0;
  readonly #live = { count: 0 };
  /** A binary heap, earliest first; cancelled timers stay until they come up. */
  readonly #heap: Pending[] = [];
  #soon: (() => void)[] = [];
  #soonNext = 0;

  constructor(start = 0) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  after(delayMs: number, fire: () => void): Timer {
    const at = delayMs > 0 ? this.#now + delayMs : this.#now;
    const pending = new Pending(at, this.#order++, fire, this.#live);
    this.#live.count += 1;
    this.#push(pending);
    return pending;
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  hasSoon(): boolean {
    return this.#soonNext < this.#soon.length;
  }

  /** Runs the oldest of what `soon` holds. */
  runSoon(): void {
    const run = this.#soon[this.#soonNext];
    assert(run !== undefined, "nothing is to run soon");
    this.#soonNext += 1;
    if (this.#soonNext === this.#soon.length) {
      this.#soon = [];
      this.#soonNext = 0;
    }
    run();
  }

  /** Runs what `soon` holds, and what that adds, without moving time. */
  settle(): void {
    while (this.hasSoon()) this.runSoon();
  }

  /** When the next timer is due; Infinity: none is set. */
  nextAt(): number {
    this.#dropCancelled();
    return this.#heap[0]?.at ?? Infinity;
  }

  /** Moves time to the next timer, and fires it. */
  fireNext(): void {
    this.#dropCancelled();
    const next = this.#pop();
    const fire = next?.take() ?? null;
    assert(next !== undefined && fire !== null, "no timer is set");
    if (next.at > this.#now) this.#now = next.at;
    fire();
  }

  /** Moves time on, past no timer. */
  moveTo(at: number): void {
    this.#now = Math.max(this.#now, Math.min(at, this.nextAt()));
  }

  /** Moves time, firing each timer at its own moment. */
  advance(ms: number): void {
    const end = this.#now + ms;
    this.settle();
    while (this.nextAt() <= end) {
      this.fireNext();
      this.settle();
    }
    this.#now = end;
  }

  /** Timers set and neither fired nor cancelled. */
  timerCount(): number {
    return this.#live.count;
  }

  #dropCancelled(): void {
    while (this.#heap[0]?.fire === null) this.#pop();
  }

  #push(pending: Pending): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Pending;
      if (!isBefore(pending, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = pending;
  }

  #pop(): Pending | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || last === top) return top;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      const left = heap[below];
      if (left === undefined) break;
      const right = heap[below + 1];
      if (right !== undefined && isBefore(right, left)) below += 1;
      const child = heap[below] as Pending;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
    return top;
  }
}

function isBefore(left: Pending, right: Pending): boolean {
  return left.at !== right.at ? left.at < right.at : left.order < right.order;
}
