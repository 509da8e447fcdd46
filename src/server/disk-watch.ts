// Is the disk alive? The age of the oldest sync under way, judged in time that counts: a paused
// process finds its sync old and its acknowledgement waiting, so age grows no faster than the
// ticks that were counted (J1).
//
//   none --half the election timeout--> half --the whole--> full --diskHangMs--> hung
//
// What follows is consensus' business (R4): at half a leader falls silent, at full it steps down.
// Hung is the end of the process (D12): a sync that takes so long is never trusted again.

export type DiskStall = "none" | "half" | "full" | "hung";

export class DiskWatch {
  readonly #electionMs: number;
  readonly #hangMs: number;
  /** At most the age of the oldest sync. */
  #stalledMs = 0;

  constructor(limits: { electionMs: number; hangMs: number }) {
    this.#electionMs = limits.electionMs;
    this.#hangMs = limits.hangMs;
  }

  observe(syncAgeMs: number, countedMs: number): DiskStall {
    this.#stalledMs = Math.min(syncAgeMs, this.#stalledMs + countedMs);
    if (this.#stalledMs >= this.#hangMs) return "hung";
    if (this.#stalledMs >= this.#electionMs) return "full";
    return this.#stalledMs >= this.#electionMs / 2 ? "half" : "none";
  }
}
