// Rows written but not yet in the backend, newest first: one layer that takes writes, and frozen
// ones below it. A frozen layer never changes, so that a view keeps the layers it saw at no cost.
//
// Rows are found by their storage key as a string, one character per byte: string order is then
// byte order, and a Map needs no hashing of ours. null: the row is deleted.
import { bufferOver } from "./layout.ts";

export type OverlayValue = Uint8Array | null;

/** Map, entry and string besides the bytes themselves: about. */
const entryOverheadBytes = 120;

export class Layer {
  readonly rows = new Map<string, OverlayValue>();
  bytes = 0;
  #sorted: string[] | null = null;

  set(key: string, value: OverlayValue): void {
    const before = this.rows.size;
    this.rows.set(key, value);
    this.bytes += value === null ? 0 : value.length;
    if (this.rows.size > before) this.bytes += key.length + entryOverheadBytes;
  }

  /** Of a frozen layer: keys in order, first <= key < end. */
  *keys(first: string, end: string): Generator<string> {
    this.#sorted ??= [...this.rows.keys()].sort(compareText);
    for (let i = lowerBound(this.#sorted, first); i < this.#sorted.length; i++) {
      const key = this.#sorted[i] as string;
      if (key >= end) return;
      yield key;
    }
  }
}

export function textOf(key: Uint8Array): string {
  return bufferOver(key).toString("latin1");
}

export function bytesOf(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** The newest value among layers ordered oldest first; undefined: none has the key. */
export function findRow(layers: readonly Layer[], key: string): OverlayValue | undefined {
  for (let i = layers.length - 1; i >= 0; i--) {
    const value = (layers[i] as Layer).rows.get(key);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** One layer with what these hold together, oldest first. */
export function mergeLayers(layers: readonly Layer[]): Layer {
  const merged = new Layer();
  for (const layer of layers) for (const [key, value] of layer.rows) merged.set(key, value);
  return merged;
}

/** Keys of frozen layers in order, each once: first <= key < end. */
export function* overlayKeys(
  layers: readonly Layer[],
  first: string,
  end: string,
): Generator<string> {
  const heads = layers.map((layer) => {
    const keys = layer.keys(first, end);
    return { keys, next: keys.next() };
  });
  for (;;) {
    let least: string | null = null;
    for (const { next } of heads) {
      if (next.done !== true && (least === null || next.value < least)) least = next.value;
    }
    if (least === null) return;
    for (const head of heads) {
      if (head.next.done !== true && head.next.value === least) head.next = head.keys.next();
    }
    yield least;
  }
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function lowerBound(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
