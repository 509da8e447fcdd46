// The ordered key-value store below the state machine. Two forms keep one contract
// (test/contract/backend.ts): LevelDB and memory. A cache of the log, never the truth (L1).

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

/** The content at the moment it was made, whatever is written later. Must be closed. */
export interface BackendSnapshot {
  /** Next rows in key order, at most rowsMax and about bytesMax; fewer or none: the end. */
  rows(range: KeyRange, limits: { rowsMax: number; bytesMax: number }): Promise<BackendRow[]>;
  close(): Promise<void>;
}

export interface Backend {
  getSync(key: Uint8Array): Uint8Array | undefined;
  /** All or nothing; in the order given. Not synced to disk unless `sync`. */
  write(operations: readonly BackendOperation[], options?: { sync: boolean }): Promise<void>;
  snapshot(): BackendSnapshot;
  /** Approximate bytes on disk. */
  diskBytes(): Promise<number>;
  close(): Promise<void>;
}
