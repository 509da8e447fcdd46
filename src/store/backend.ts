// The ordered key-value store below the state machine. Two forms keep one contract
// (test/contract/backend.ts): LevelDB and memory. A cache of the log, never the truth (L1): damage
// is answered by wiping it and replaying the log, never by repair (L6).

/** Thrown by reads: the files do not hold together. Other errors are the disk's or ours. */
export class BackendDamageError extends Error {
  override readonly name = "BackendDamageError";
}

export interface BackendPut {
  readonly type: "put";
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}
export interface BackendDelete {
  readonly type: "del";
  readonly key: Uint8Array;
}
export type BackendOperation = BackendPut | BackendDelete;

/** Half-open range of keys: first <= key < end. */
export interface KeyRange {
  readonly first: Uint8Array;
  readonly end: Uint8Array;
}

export interface BackendRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface RowLimits {
  readonly rowsMax: number;
  /** Approximate: the row that reaches it is the last one. */
  readonly bytesMax: number;
}

/** The content at the moment it was made, whatever is written later. Must be closed. */
export interface BackendSnapshot {
  /**
   * The first rows of the range, in key order, cut after the limits. None only when the range
   * holds none; to go on, ask again from behind the last key.
   */
  rows(range: KeyRange, limits: RowLimits): Promise<BackendRow[]>;
  close(): Promise<void>;
}

export interface Backend {
  /** The value is the caller's. */
  getSync(key: Uint8Array): Uint8Array | undefined;
  /**
   * All or nothing; in the order given. Not synced to disk unless `sync`. Keys and values must not
   * change until it resolves; it rejects when the disk refuses, and then nothing more may be asked.
   */
  write(operations: readonly BackendOperation[], options?: { sync: boolean }): Promise<void>;
  snapshot(): BackendSnapshot;
  /** Approximate bytes on disk. */
  diskBytes(): Promise<number>;
  /** The next open finds it damaged, even if the process ends at once. */
  markDamaged(reason: string): void;
  close(): Promise<void>;
}

/** What opening finds. Damaged: nothing is open, wipe and open again. */
export type BackendOpening =
  | { readonly type: "open"; readonly backend: Backend }
  | { readonly type: "damaged"; readonly reason: string };

/** Where a backend's content lives between opens. */
export interface BackendPlace {
  /** Rejects when it is no damage: in use by another process, no permission, disk full. */
  open(): Promise<BackendOpening>;
  /** Removes all content. Nothing may be open. */
  wipe(): Promise<void>;
}
