// What one connection has cost so far: the counters that calls report to and that decide whether
// the client is still welcome. It only counts; `expel` ends the connection, once.
//
// Unread unary responses are the one cost that is made to wait instead of punished: above the
// limit further calls of this connection are held, not handled, until the client has read
// (their number is bounded by the streams of a connection). Calls that are being handled count
// with what the connection's last responses lead to expect.
import type { Clock } from "../base/clock.ts";
import type { GrpcLimits } from "./limits.ts";
import { PingPolice } from "./ping-police.ts";
import { RateBudget } from "./rate-budget.ts";

/** A call whose request is whole. */
export interface WaitingCall {
  readonly requestBytes: number;
  run(): void;
}

/** Expected before any response was seen. */
const firstResponseBytes = 262_144;

export class ConnectionLedger {
  readonly #clock: Clock;
  readonly #limits: GrpcLimits;
  readonly #expel: (reason: string) => void;
  readonly #pings: PingPolice;
  readonly #resets: RateBudget;
  readonly #idleFrames: RateBudget;
  #openStreamCount = 0;
  #unfinishedBytes = 0;
  #unreadBytes = 0;
  /** Handled, and not answered yet. */
  #runningCount = 0;
  #expectedBytes = firstResponseBytes;
  readonly #waiting = new Set<WaitingCall>();

  constructor(clock: Clock, limits: GrpcLimits, expel: (reason: string) => void) {
    const now = clock.now();
    this.#clock = clock;
    this.#limits = limits;
    this.#expel = expel;
    this.#pings = new PingPolice(limits);
    this.#resets = new RateBudget(limits.resetBurstMax, limits.resetsPerSecondMax, now);
    this.#idleFrames = new RateBudget(limits.idleFrameBurstMax, limits.idleFramesPerSecondMax, now);
  }

  opened(): void {
    this.#openStreamCount += 1;
  }

  /** A stream closed; `isReset`: the client reset it before it was over. */
  closed(isReset: boolean): void {
    this.#openStreamCount -= 1;
    if (isReset && !this.#resets.maybeSpend(this.#clock.now())) this.#expel("too_many_resets");
  }

  pinged(): void {
    const isAllowed = this.#pings.maybeAllow(this.#clock.now(), this.#openStreamCount > 0);
    // The text is the protocol's: clients that see it slow down (gRFC A8).
    if (!isAllowed) this.#expel("too_many_pings");
  }

  /** We sent headers, a message or trailers. */
  responded(): void {
    this.#pings.forgive();
  }

  /** A frame that cost us work and brought nothing. */
  idleFrame(): void {
    if (!this.#idleFrames.maybeSpend(this.#clock.now())) this.#expel("too_many_idle_frames");
  }

  /** The held bytes of one unfinished message changed; false: over the limit. */
  maybeHold(bytesDelta: number): boolean {
    this.#unfinishedBytes += bytesDelta;
    return this.#unfinishedBytes <= this.#limits.unfinishedBytesMax;
  }

  /** Runs a call now, or when the client has read enough of its responses. False: the requests
   * that wait hold too many bytes. */
  maybeAdmit(call: WaitingCall): boolean {
    if (this.#hasRoom()) {
      this.#runningCount += 1;
      call.run();
      return true;
    }
    this.#waiting.add(call);
    return this.maybeHold(call.requestBytes);
  }

  /** The call is over before it ran; false: it ran. */
  maybeWithdraw(call: WaitingCall): boolean {
    if (!this.#waiting.delete(call)) return false;
    this.maybeHold(-call.requestBytes);
    return true;
  }

  /** A call that ran is over, with a response of so many bytes. */
  ran(responseBytes: number): void {
    this.#runningCount -= 1;
    this.#expectedBytes = Math.max(responseBytes, this.#expectedBytes / 2);
    if (this.#waiting.size > 0) this.#runWaiting();
  }

  /** Response bytes handed to the stream; negative when the stream is over. */
  unread(bytesDelta: number): void {
    this.#unreadBytes += bytesDelta;
    if (this.#waiting.size > 0) this.#runWaiting();
  }

  #hasRoom(): boolean {
    const { unreadBytesMax } = this.#limits;
    return this.#unreadBytes + this.#runningCount * this.#expectedBytes < unreadBytesMax;
  }

  #runWaiting(): void {
    for (const call of this.#waiting) {
      if (!this.#hasRoom()) return;
      this.maybeWithdraw(call);
      this.#runningCount += 1;
      call.run();
    }
  }
}
