// One process's share of the simulated clock: it can be paused (SIGSTOP), run fast or slow, be late
// with its turns, and it dies with its process. While paused nothing fires. On resume, timers that
// came due fire before anything that waited in sockets is delivered, as in a real event loop: what
// rule J1 is about. A change of rate leaves timers that are set as they are: some then fire early
// by this clock, which a timer may (C6).
import type { Clock, Timer } from "../../src/base/clock.ts";

export interface MemberClockHooks {
  /** How late the turn that is asked for now comes; input that arrives meanwhile shares it. */
  readonly turnDelayMs: () => number;
  /** A turn is over. */
  readonly turned: () => void;
}

const punctual: MemberClockHooks = { turnDelayMs: () => 0, turned: () => {} };

/** May be cancelled after it came due: while it is held. */
class HeldTimer implements Timer {
  fire: (() => void) | null;
  below: Timer | null = null;

  constructor(fire: () => void) {
    this.fire = fire;
  }

  cancel(): void {
    this.fire = null;
    this.below?.cancel();
  }
}

export class MemberClock implements Clock {
  readonly #clock: Clock;
  readonly #hooks: MemberClockHooks;
  #state: "running" | "paused" | "dead" = "running";
  /** Due while paused: timers first, then input. */
  #heldTimers: (() => void)[] = [];
  #heldInput: (() => void)[] = [];
  #rate = 1;
  /** This clock's time at #since of the other. */
  #base: number;
  #since: number;

  constructor(clock: Clock, hooks: MemberClockHooks = punctual) {
    this.#clock = clock;
    this.#hooks = hooks;
    this.#base = clock.now();
    this.#since = this.#base;
  }

  now(): number {
    return this.#base + (this.#clock.now() - this.#since) * this.#rate;
  }

  /** Above 1: this clock runs fast. */
  setRate(rate: number): void {
    this.#base = this.now();
    this.#since = this.#clock.now();
    this.#rate = rate;
  }

  after(delayMs: number, fire: () => void): Timer {
    const timer = new HeldTimer(fire);
    const run = () => {
      if (this.#state === "paused") this.#heldTimers.push(run);
      else if (this.#state === "running") timer.fire?.();
    };
    timer.below = this.#clock.after(delayMs / this.#rate, run);
    return timer;
  }

  soon(run: () => void): void {
    const turn = () => {
      if (this.#state === "paused") this.#heldTimers.push(turn);
      if (this.#state !== "running") return;
      run();
      this.#hooks.turned();
    };
    const delayMs = this.#hooks.turnDelayMs();
    if (delayMs > 0) this.#clock.after(delayMs, turn);
    else this.#clock.soon(turn);
  }

  /** Something arrives from outside: at a socket, or from another thread. */
  arrive(take: () => void): void {
    if (this.#state === "running") take();
    else if (this.#state === "paused") this.#heldInput.push(take);
  }

  pause(): void {
    if (this.#state === "running") this.#state = "paused";
  }

  isPaused(): boolean {
    return this.#state === "paused";
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "running";
    const held = [...this.#heldTimers, ...this.#heldInput];
    this.#heldTimers = [];
    this.#heldInput = [];
    // What runs may pause the process again: the rest is then held once more.
    for (const run of held) this.arrive(run);
  }

  /** For good: nothing fires any more. */
  kill(): void {
    this.#state = "dead";
    this.#heldTimers = [];
    this.#heldInput = [];
  }
}
