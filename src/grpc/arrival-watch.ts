// Deadline for requests to arrive (X9): a unary call whose request is not whole in time ends.
// One timer for all calls of the server: they have the same patience, so the set, in order of
// insertion, is in order of deadline too, and a call that arrives in time costs two set
// operations.
import type { Clock, Timer } from "../base/clock.ts";
import { RequestError } from "../base/errors.ts";

/** A call whose request is still arriving. */
export interface Arriving {
  end(refusal: RequestError): void;
}

export class ArrivalWatch {
  readonly #clock: Clock;
  readonly #arrivalMs: number;
  /** Bounded by the streams of all connections. */
  readonly #dueMs = new Map<Arriving, number>();
  #timer: Timer | null = null;

  constructor(clock: Clock, arrivalMs: number) {
    this.#clock = clock;
    this.#arrivalMs = arrivalMs;
  }

  begin(call: Arriving): void {
    this.#dueMs.set(call, this.#clock.now() + this.#arrivalMs);
    this.#timer ??= this.#clock.after(this.#arrivalMs, () => this.#expire());
  }

  arrived(call: Arriving): void {
    this.#dueMs.delete(call);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #expire(): void {
    this.#timer = null;
    const now = this.#clock.now();
    for (const [call, dueMs] of this.#dueMs) {
      if (dueMs > now) {
        this.#timer = this.#clock.after(dueMs - now, () => this.#expire());
        return;
      }
      this.#dueMs.delete(call);
      call.end(RequestError.of("contextDeadlineExceeded"));
    }
  }
}
