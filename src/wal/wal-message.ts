// What the main thread and the log's thread say to each other. Numbers rise by one; answers to
// appends come in order, and one `synced` answers all up to its number.
import type { Index, StoreId } from "../base/ids.ts";
import type { WalCreate } from "./data-directory.ts";
import type { Recovered } from "./log.ts";
import type { WalErrorKind } from "./wal-error.ts";

/** How the log's thread starts. */
export interface WalStart {
  readonly directory: string;
  readonly create: WalCreate | null;
  readonly store: StoreId;
  readonly segmentBytes: number;
}

export type WalRequest =
  // Records of one turn's appends; empty ones are answered like others.
  | { readonly type: "append"; readonly number: number; readonly records: Uint8Array }
  | {
      readonly type: "read";
      readonly number: number;
      readonly first: Index;
      readonly last: Index;
      readonly bytesMax: number;
    }
  | { readonly type: "close" };

export type WalReply =
  | { readonly type: "opened"; readonly recovered: Recovered }
  // The directory cannot be opened: WalError's words.
  | { readonly type: "refused"; readonly kind: WalErrorKind; readonly message: string }
  // `batchMs`: how long the write and sync took that made them durable. `spent`: the records of
  // the batch, for their memory to be used again; freed here, it would wait for two collectors.
  | {
      readonly type: "synced";
      readonly number: number;
      readonly batchMs: number;
      readonly spent: readonly Uint8Array[];
    }
  | { readonly type: "records"; readonly number: number; readonly records: Uint8Array }
  // A segment could not be prepared, for the disk is full; the log goes on in what is prepared.
  | { readonly type: "diskFull"; readonly message: string }
  // A write, sync or read failed (W9): nothing more will come.
  | { readonly type: "failed"; readonly message: string; readonly stack: string }
  | { readonly type: "closed" };
