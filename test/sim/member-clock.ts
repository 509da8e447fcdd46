// One process's share of the simulated clock: it can be paused (SIGSTOP) and it dies with its
// process. While paused nothing fires. On resume, timers that came due fire before anything that
// waited in sockets is delivered, as in a real event loop: what rule J1 is about.
import type { Clock, Timer } from "../../src/base/clock.ts";

export class MemberClock implements Clock {
  readonly #clock: Clock;
  #state: "running" | "paused" | "dead" = "running";
  /** Due while paused: timers first, then input. */
  #heldTimers: (() => void)[] = [];
  #heldInput: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  after(delayMs: number, fire: () => void): Timer {
    let isCancelled = false;
    const timer = this.#clock.after(delayMs, () =>
      this.#run(this.#heldTimers, () => {
        if (!isCancelled) fire();
      }),
    );
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  soon(run: () => void): void {
    this.#clock.soon(() => this.#run(this.#heldTimers, run));
  }

  /** Something arrives from outside: at a socket, or from another thread. */
  arrive(take: () => void): void {
    this.#run(this.#heldInput, take);
  }

  pause(): void {
    if (this.#state === "running") this.#state = "paused";
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "running";
    const held = [...this.#heldTimers, ...this.#heldInput];
    this.#heldTimers = [];
    this.#heldInput = [];
    for (const run of held) run();
  }

  /** For good: nothing fires any more. */
  kill(): void {
    this.#state = "dead";
    this.#heldTimers = [];
    this.#heldInput = [];
  }

  #run(held: (() => void)[], run: () => void): void {
    if (this.#state === "running") run();
    else if (this.#state === "paused") held.push(run);
  }
}
