// The backend in memory: for tests and the simulator. Same contract as LevelDB's, with content
// that outlives closing, and images of it, so that a crash can be played at any write.
import { assert } from "../base/assert.ts";
import { compareBytes } from "../base/bytes.ts";
import type {
  Backend,
  BackendOpening,
  BackendOperation,
  BackendPlace,
  BackendRow,
  BackendSnapshot,
  KeyRange,
  RowLimits,
} from "./backend.ts";
import { textOf } from "./overlay.ts";

/** Content at one moment; rows are never changed, only replaced. */
export interface MemoryImage {
  readonly rows: ReadonlyMap<string, BackendRow>;
  readonly damage: string | null;
}

/** A row as it was before a write; null: there was none. */
export interface Overwritten {
  /** Its key. */
  readonly text: string;
  readonly row: BackendRow | null;
}

export const emptyImage: MemoryImage = { rows: new Map(), damage: null };

export class MemoryPlace implements BackendPlace {
  #image: MemoryImage;
  #open: MemoryBackend | null = null;

  constructor(image = emptyImage) {
    this.#image = image;
  }

  open(): Promise<BackendOpening> {
    const reason = this.image().damage;
    if (reason !== null) return Promise.resolve({ type: "damaged", reason });
    this.#open = new MemoryBackend(this.image());
    return Promise.resolve({ type: "open", backend: this.#open });
  }

  wipe(): Promise<void> {
    this.#image = emptyImage;
    this.#open = null;
    return Promise.resolve();
  }

  /** What a process that starts now would find. */
  image(): MemoryImage {
    return this.#open === null ? this.#image : this.#open.image();
  }
}

export class MemoryBackend implements Backend {
  readonly #rows: Map<string, BackendRow>;
  #sorted: readonly BackendRow[] | null = null;
  #bytes = 0;
  #damage: string | null;
  #isOpen = true;

  constructor(image = emptyImage) {
    this.#rows = new Map(image.rows);
    this.#damage = image.damage;
    for (const { key, value } of this.#rows.values()) this.#bytes += key.length + value.length;
  }

  image(): MemoryImage {
    return { rows: new Map(this.#rows), damage: this.#damage };
  }

  getSync(key: Uint8Array): Uint8Array | undefined {
    assert(this.#isOpen, "read from a closed backend");
    return this.#rows.get(textOf(key))?.value.slice();
  }

  write(operations: readonly BackendOperation[]): Promise<void> {
    this.replace(operations);
    return Promise.resolve();
  }

  /** Writes, and gives what each operation overwrote, in their order: to be undone newest first. */
  replace(operations: readonly BackendOperation[]): readonly Overwritten[] {
    assert(this.#isOpen, "write to a closed backend");
    this.#sorted = null;
    return operations.map((operation) => {
      const text = textOf(operation.key);
      const old = this.#rows.get(text);
      if (old !== undefined) this.#bytes -= old.key.length + old.value.length;
      if (operation.type === "put") {
        const row = { key: copyOf(operation.key), value: copyOf(operation.value) };
        this.#rows.set(text, row);
        this.#bytes += row.key.length + row.value.length;
      } else {
        this.#rows.delete(text);
      }
      return { text, row: old ?? null };
    });
  }

  snapshot(): BackendSnapshot {
    assert(this.#isOpen, "snapshot of a closed backend");
    this.#sorted ??= [...this.#rows.values()].sort((a, b) => compareBytes(a.key, b.key));
    return new MemorySnapshot(this.#sorted);
  }

  diskBytes(): Promise<number> {
    return Promise.resolve(this.#bytes);
  }

  markDamaged(reason: string): void {
    this.#damage = reason;
  }

  close(): Promise<void> {
    this.#isOpen = false;
    return Promise.resolve();
  }
}

class MemorySnapshot implements BackendSnapshot {
  readonly #sorted: readonly BackendRow[];
  #isOpen = true;

  constructor(sorted: readonly BackendRow[]) {
    this.#sorted = sorted;
  }

  rows(range: KeyRange, limits: RowLimits): Promise<BackendRow[]> {
    assert(this.#isOpen, "read from a closed snapshot");
    const found: BackendRow[] = [];
    let bytes = 0;
    for (let i = lowerBound(this.#sorted, range.first); i < this.#sorted.length; i++) {
      const { key, value } = this.#sorted[i] as BackendRow;
      if (compareBytes(key, range.end) >= 0) break;
      found.push({ key: key.slice(), value: value.slice() });
      bytes += key.length + value.length;
      if (found.length >= limits.rowsMax || bytes >= limits.bytesMax) break;
    }
    return Promise.resolve(found);
  }

  close(): Promise<void> {
    this.#isOpen = false;
    return Promise.resolve();
  }
}

/** A Buffer's own slice() is a view of the caller's memory. */
function copyOf(bytes: Uint8Array): Uint8Array {
  return Uint8Array.prototype.slice.call(bytes);
}

function lowerBound(sorted: readonly BackendRow[], key: Uint8Array): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes((sorted[middle] as BackendRow).key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
