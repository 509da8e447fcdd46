// The store at one moment: the overlay's layers as they were, over a snapshot of the backend. What
// is written later is invisible. Holds LevelDB's files and the layers in memory: must be closed.
import { assert } from "../base/assert.ts";
import { BackendDamageError } from "./backend.ts";
import type { BackendRow, BackendSnapshot, KeyRange, RowLimits } from "./backend.ts";
import { openEnvelope } from "./layout.ts";
import { bytesOf, findRow, overlayKeys, textOf } from "./overlay.ts";
import type { Layer } from "./overlay.ts";
import { keyBehind } from "./scan.ts";

export interface StoreView {
  /**
   * The first rows of the range in key order, checked, values without envelope, cut after the
   * limits. None only when the range holds none; to go on, ask again from behind the last key.
   */
  rows(range: KeyRange, limits: RowLimits): Promise<BackendRow[]>;
  close(): Promise<void>;
}

export class LayeredView implements StoreView {
  readonly #layers: readonly Layer[];
  readonly #snapshot: BackendSnapshot;
  readonly #damaged: (what: string) => never;
  #isOpen = true;

  constructor(parts: {
    layers: readonly Layer[];
    snapshot: BackendSnapshot;
    damaged: (what: string) => never;
  }) {
    this.#layers = parts.layers;
    this.#snapshot = parts.snapshot;
    this.#damaged = parts.damaged;
  }

  async rows(range: KeyRange, limits: RowLimits): Promise<BackendRow[]> {
    assert(this.#isOpen, "read from a closed view");
    let { first } = range;
    for (;;) {
      const below = await this.#rowsBelow({ first, end: range.end }, limits);
      const last = below.at(-1);
      // The overlay's rows up to where the backend's are known.
      const end = last === undefined ? range.end : keyBehind(last.key);
      const merged = this.#merge(below, { first, end }, limits);
      if (merged.length > 0 || last === undefined) return merged;
      // All that the backend gave is deleted above it.
      first = end;
    }
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#snapshot.close();
  }

  async #rowsBelow(range: KeyRange, limits: RowLimits): Promise<BackendRow[]> {
    try {
      return await this.#snapshot.rows(range, limits);
    } catch (error) {
      if (!(error instanceof BackendDamageError)) throw error;
      return this.#damaged(error.message);
    }
  }

  #merge(below: readonly BackendRow[], range: KeyRange, limits: RowLimits): BackendRow[] {
    const merged: BackendRow[] = [];
    let bytes = 0;
    const isFull = () => merged.length >= limits.rowsMax || bytes >= limits.bytesMax;
    const take = (key: Uint8Array, value: Uint8Array) => {
      merged.push({ key, value });
      bytes += key.length + value.length;
    };
    const above = overlayKeys(this.#layers, textOf(range.first), textOf(range.end));
    let upper = above.next();
    for (const row of below) {
      const text = upper.done === true ? "" : textOf(row.key);
      while (upper.done !== true && upper.value < text && !isFull()) {
        this.#takeUpper(upper.value, take);
        upper = above.next();
      }
      if (isFull()) return merged;
      if (upper.done !== true && upper.value === text) {
        this.#takeUpper(text, take);
        upper = above.next();
      } else {
        take(row.key, this.#opened(row));
      }
      if (isFull()) return merged;
    }
    for (; upper.done !== true && !isFull(); upper = above.next()) {
      this.#takeUpper(upper.value, take);
    }
    return merged;
  }

  #takeUpper(text: string, take: (key: Uint8Array, value: Uint8Array) => void): void {
    const value = findRow(this.#layers, text);
    if (value !== undefined && value !== null) take(bytesOf(text), value);
  }

  #opened({ key, value }: BackendRow): Uint8Array {
    return openEnvelope(key, value) ?? this.#damaged(`the row ${textOf(key)} fails its checksum`);
  }
}
