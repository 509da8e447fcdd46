// The fast path of rule R1: a connection to the leader that was reset, and stays silent for a
// jitter of 0-50 ms, counts as leader lost on this member. The jitter keeps two followers from
// campaigning at once; a message that arrives meanwhile proves that the leader lives.
import type { Clock, Timer } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Prng } from "../base/prng.ts";

export class LeaderLoss {
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #jitterMsMax: number;
  readonly #wake: () => void;
  /** At most one timer a member of the configuration. */
  readonly #waiting = new Map<MemberId, Timer>();
  #lost: MemberId[] = [];

  constructor(deps: { clock: Clock; prng: Prng; wake: () => void }, jitterMsMax: number) {
    this.#clock = deps.clock;
    this.#prng = deps.prng;
    this.#wake = deps.wake;
    this.#jitterMsMax = jitterMsMax;
  }

  disconnected(peer: MemberId): void {
    if (this.#waiting.has(peer)) return;
    const timer = this.#clock.after(this.#prng.between(0, this.#jitterMsMax), () => {
      this.#waiting.delete(peer);
      this.#lost.push(peer);
      this.#wake();
    });
    this.#waiting.set(peer, timer);
  }

  heard(peer: MemberId): void {
    if (this.#waiting.size === 0) return;
    this.#waiting.get(peer)?.cancel();
    this.#waiting.delete(peer);
  }

  /** Peers that count as lost, each once. */
  take(): readonly MemberId[] {
    if (this.#lost.length === 0) return this.#lost;
    const lost = this.#lost;
    this.#lost = [];
    return lost;
  }

  stop(): void {
    for (const timer of this.#waiting.values()) timer.cancel();
    this.#waiting.clear();
  }
}
