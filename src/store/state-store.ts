// What the state machine reads and writes below itself: rows by storage key, through the overlay.
// Writes are visible to `get` at once; they reach the backend later, as one atomic batch per turn
// that ends with the applied record. Layout of the rows: store/layout.ts.
import type { Index, Revision, Term } from "../base/ids.ts";

/** The point up to which the rows are the result of the log. One record, in every batch (L2). */
export interface Applied {
  readonly index: Index;
  readonly term: Term;
  readonly revision: Revision;
  readonly compactRevision: Revision;
  /** Live keys, and the order-independent digest over them: what a rebuilt key index must give. */
  readonly keyCount: number;
  readonly digest: string;
}

export interface StateStore {
  readonly applied: Applied;
  /** Checked: a damaged row is an AssertionError, never a wrong value (L4). */
  get(storageKey: Uint8Array): Uint8Array | undefined;
  /** Takes ownership of both. */
  put(storageKey: Uint8Array, value: Uint8Array): void;
  delete(storageKey: Uint8Array): void;
  /**
   * Ends one applied entry: all writes since the last call stand or fall with this record. The
   * same index again ends local work between entries (removal of compacted history).
   */
  commit(applied: Applied): void;
  /** A row is not what it must be: marks the rows for a rebuild at the next start, and stops. */
  damaged(what: string): never;
}
