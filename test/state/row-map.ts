// A state store that is nothing but its rows: for tests of the machine alone.
import { AssertionError } from "../../src/base/assert.ts";
import type { Applied, StateStore } from "../../src/store/state-store.ts";

export class RowMap implements StateStore {
  applied: Applied = {
    index: 0,
    term: 0,
    revision: 1,
    compactRevision: -1,
    keyCount: 0,
    digest: "0000000000000000",
  };
  readonly rows = new Map<string, Uint8Array>();

  get(storageKey: Uint8Array): Uint8Array | undefined {
    return this.rows.get(textOf(storageKey));
  }

  put(storageKey: Uint8Array, value: Uint8Array): void {
    this.rows.set(textOf(storageKey), value);
  }

  delete(storageKey: Uint8Array): void {
    this.rows.delete(textOf(storageKey));
  }

  commit(applied: Applied): void {
    this.applied = applied;
  }

  damaged(what: string): never {
    throw new AssertionError(what);
  }

  /** Rows of one kind, in key order. */
  rowsOf(prefix: number): Uint8Array[] {
    return [...this.rows]
      .filter(([key]) => key.charCodeAt(0) === prefix)
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([, value]) => value);
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
