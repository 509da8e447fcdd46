// The real form of base/clock: the process's monotonic clock and its timers. Never the wall clock
// (rule J2). `soon` is setImmediate: it runs after the poll phase, so input that was already
// waiting on sockets is taken before a late tick is judged (rule J1).
import type { Clock, Timer } from "../base/clock.ts";

export const realClock: Clock = {
  now: () => performance.now(),
  after(delayMs: number, fire: () => void): Timer {
    const timeout = setTimeout(fire, delayMs);
    return { cancel: () => clearTimeout(timeout) };
  },
  soon(run: () => void): void {
    setImmediate(run);
  },
};
