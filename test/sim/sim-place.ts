// The state machine's store on a simulated disk. Nothing of it is ever synced, so after a loss of
// power any number of its newest batches may be missing; what remains is a prefix, as LevelDB
// promises. Batches take a while to write, and are visible to reads when they are done. The whole
// directory may be lost: it is a cache of the log (L1).
import { assert } from "../../src/base/assert.ts";
import type { Clock } from "../../src/base/clock.ts";
import type {
  Backend,
  BackendOpening,
  BackendOperation,
  BackendPlace,
  BackendRow,
  BackendSnapshot,
} from "../../src/store/backend.ts";
import { emptyImage, MemoryBackend } from "../../src/store/memory-backend.ts";
import type { Overwritten } from "../../src/store/memory-backend.ts";

/** Older batches are as good as synced. */
const undoMax = 64;

export class SimPlace implements BackendPlace {
  #rows: ReadonlyMap<string, BackendRow> = emptyImage.rows;
  #open: SimBackend | null = null;
  readonly #clock: Clock;
  readonly #writeDelayMs: () => number;

  /** `clock`: that of the disk, which lives on when a process dies. */
  constructor(deps: { clock: Clock; writeDelayMs: () => number }) {
    this.#clock = deps.clock;
    this.#writeDelayMs = deps.writeDelayMs;
  }

  open(): Promise<BackendOpening> {
    this.#open = new SimBackend(this.#rows, this.#clock, this.#writeDelayMs);
    return Promise.resolve({ type: "open", backend: this.#open });
  }

  wipe(): Promise<void> {
    this.lose();
    return Promise.resolve();
  }

  /** The process is gone; of the newest batches up to `lostMax` are gone too. */
  crash(lostMax: number): void {
    if (this.#open === null) return;
    this.#rows = this.#open.rowsWithout(lostMax);
    this.#open = null;
  }

  /** The directory is gone. */
  lose(): void {
    this.#rows = emptyImage.rows;
    this.#open = null;
  }
}

class SimBackend implements Backend {
  readonly #memory: MemoryBackend;
  readonly #clock: Clock;
  readonly #writeDelayMs: () => number;
  /** By batch, newest last. */
  readonly #undo: (readonly Overwritten[])[] = [];

  constructor(rows: ReadonlyMap<string, BackendRow>, clock: Clock, writeDelayMs: () => number) {
    this.#memory = new MemoryBackend({ rows, damage: null });
    this.#clock = clock;
    this.#writeDelayMs = writeDelayMs;
  }

  getSync(key: Uint8Array): Uint8Array | undefined {
    return this.#memory.getSync(key);
  }

  write(operations: readonly BackendOperation[]): Promise<void> {
    const delayMs = this.#writeDelayMs();
    // The first batch belongs to opening, which takes no time here.
    if (delayMs <= 0 || this.#undo.length === 0) {
      this.#take(operations);
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#clock.after(delayMs, () => {
        this.#take(operations);
        resolve();
      });
    });
  }

  #take(operations: readonly BackendOperation[]): void {
    this.#undo.push(this.#memory.replace(operations));
    if (this.#undo.length > undoMax) this.#undo.shift();
  }

  snapshot(): BackendSnapshot {
    return this.#memory.snapshot();
  }

  diskBytes(): Promise<number> {
    return this.#memory.diskBytes();
  }

  markDamaged(reason: string): void {
    assert(false, `the store found damage where there is none: ${reason}`);
  }

  close(): Promise<void> {
    return this.#memory.close();
  }

  rowsWithout(lostMax: number): ReadonlyMap<string, BackendRow> {
    const rows = new Map(this.#memory.image().rows);
    for (let lost = 0; lost < lostMax; lost++) {
      for (const { text, row } of this.#undo.pop()?.toReversed() ?? []) {
        if (row === null) rows.delete(text);
        else rows.set(text, row);
      }
    }
    return rows;
  }
}
