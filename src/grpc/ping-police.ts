// How often a client may ping, as grpc-go enforces it: a ping that comes too early is a strike,
// anything we send forgives the strikes (a client that measures bandwidth pings at each answer),
// and one strike too many ends the connection with GOAWAY "too_many_pings". Without an open call
// the client should not ping at all, or every two hours.
import type { GrpcLimits } from "./limits.ts";

export class PingPolice {
  readonly #limits: GrpcLimits;
  #lastPingMs = -Infinity;
  #strikes = 0;
  /** We sent a frame since the last ping. */
  #isForgiven = false;

  constructor(limits: GrpcLimits) {
    this.#limits = limits;
  }

  forgive(): void {
    this.#isForgiven = true;
  }

  /** One ping arrived; false: one strike too many. */
  maybeAllow(nowMs: number, hasOpenCalls: boolean): boolean {
    const sinceMs = nowMs - this.#lastPingMs;
    this.#lastPingMs = nowMs;
    if (this.#isForgiven) {
      this.#isForgiven = false;
      this.#strikes = 0;
      return true;
    }
    const { pingIntervalMsMin, pingIdleIntervalMsMin, pingStrikesMax } = this.#limits;
    if (sinceMs < (hasOpenCalls ? pingIntervalMsMin : pingIdleIntervalMsMin)) this.#strikes += 1;
    return this.#strikes <= pingStrikesMax;
  }
}
