// The state machine's rows: an overlay in memory over a backend, every row checksummed, every
// batch journaled.
//
//   put, delete      into the newest layer; visible to get at once
//   commit           closes an entry: its rows stand or fall together
//   flush            freezes the layers; writes all closed entries as one batch, with the applied
//                    record and a journal row; when it is written the layers are dropped
//   pin              freezes the newest layer; the view keeps the layers and a backend snapshot
//
// Invariants: a row's newest value is in the newest layer that has it, else in the backend; one
// batch is in flight at most; what the backend holds is always the result of whole entries up to
// its own applied record, whatever moment the process dies. Nothing is synced: the log is the
// truth, and what is lost here is applied again from it.
//
// Damage found at open is a value, for the caller wipes and replays. Found while running it is an
// assertion, and a marker for the next open. A batch that fails to write is an assertion too.
//
// Rows that no index proves (leases, members, …: `summedPrefixes`) are proved by count and sum of
// their CRCs in the applied record.
import { crc32 } from "node:zlib";
import { assert, AssertionError } from "../base/assert.ts";
import { BackendDamageError } from "./backend.ts";
import type { Backend, BackendOperation, BackendRow, BackendSnapshot } from "./backend.ts";
import { openJournal } from "./journal.ts";
import type { Journal } from "./journal.ts";
import {
  appliedKey,
  decodeAppliedRecord,
  emptyRecord,
  encodeAppliedRecord,
  encodeJournalRow,
  envelope,
  envelopeCrc,
  formatKey,
  formatVersion,
  journalKey,
  openEnvelope,
  prefixRange,
  rowCrc,
} from "./layout.ts";
import type { AppliedRecord } from "./layout.ts";
import { findRow, Layer, mergeLayers, textOf } from "./overlay.ts";
import type { OverlayValue } from "./overlay.ts";
import { packedBytes, RowPacker } from "./row-packer.ts";
import { scanPages } from "./scan.ts";
import type { Applied, StateStore } from "./state-store.ts";
import { LayeredView } from "./store-view.ts";
import type { StoreView } from "./store-view.ts";

export interface StoreOptions {
  /** First bytes of rows that the key index proves. */
  readonly indexedPrefixes: readonly number[];
  /** First bytes of rows that count and sum prove; few rows, rarely written. */
  readonly summedPrefixes: readonly number[];
  /** Journal rows reach back so many bytes: at least twice LevelDB's write buffer. */
  readonly journalSpanBytes: number;
}

export type StoreOpening =
  | {
      readonly type: "open";
      readonly store: CheckedStore;
      /** All rows of the summed prefixes, without envelope. */
      readonly summedRows: readonly BackendRow[];
    }
  | { readonly type: "damaged"; readonly reason: string }
  | { readonly type: "newerFormat"; readonly version: number };

/** More frozen layers than this are joined: each costs every lookup. */
const frozenLayersMax = 8;
/** Storage keys of the store's own rows in a batch, their envelopes and payloads: about. */
const ownRowsBytes = 256;
/** Batches up to this size are packed into memory that is kept; a few times what starts a flush. */
const slabBytesMax = 1024 * 1024;

export class CheckedStore implements StateStore {
  readonly #backend: Backend;
  readonly #journal: Journal;
  readonly #isSummed = new Uint8Array(256);
  readonly #isKnown = new Uint8Array(256);
  /** Of the newest commit; also what the open entry started from. */
  #record: AppliedRecord;
  /** Of the newest batch given to the backend. */
  #flushedIndex: number;
  #layer = new Layer();
  /** Oldest first; the first #inFlightCount are being written. */
  #frozen: Layer[] = [];
  #inFlightCount = 0;
  #inFlight: Promise<void> | null = null;
  #queued: Promise<void> | null = null;
  #isEntryOpen = false;
  #isCommitted = false;
  #slab: Buffer | null = null;

  private constructor(parts: {
    backend: Backend;
    journal: Journal;
    record: AppliedRecord;
    options: StoreOptions;
  }) {
    this.#backend = parts.backend;
    this.#journal = parts.journal;
    this.#record = parts.record;
    this.#flushedIndex = parts.record.applied.index;
    for (const prefix of parts.options.indexedPrefixes) this.#isKnown[prefix] = 1;
    for (const prefix of parts.options.summedPrefixes) {
      this.#isKnown[prefix] = 1;
      this.#isSummed[prefix] = 1;
    }
  }

  static async open(backend: Backend, options: StoreOptions): Promise<StoreOpening> {
    const snapshot = backend.snapshot();
    try {
      const format = await openFormat(backend, snapshot);
      if (format !== null) return format;
      const record = openRecord(backend);
      if (record === undefined) return { type: "damaged", reason: "the applied record is damaged" };
      const journal = await openJournal(snapshot, record, options.journalSpanBytes);
      if (typeof journal === "string") return { type: "damaged", reason: journal };
      const summedRows = await openSummedRows(snapshot, record, options.summedPrefixes);
      if (typeof summedRows === "string") return { type: "damaged", reason: summedRows };
      const store = new CheckedStore({ backend, journal, record, options });
      return { type: "open", store, summedRows };
    } finally {
      await snapshot.close();
    }
  }

  get applied(): Applied {
    return this.#record.applied;
  }

  get(storageKey: Uint8Array): Uint8Array | undefined {
    const text = textOf(storageKey);
    let above = this.#layer.rows.get(text);
    if (above === undefined && this.#frozen.length > 0) above = findRow(this.#frozen, text);
    if (above === undefined) return this.#getBelow(storageKey);
    return above ?? undefined;
  }

  put(storageKey: Uint8Array, value: Uint8Array): void {
    this.#write(storageKey, value);
  }

  delete(storageKey: Uint8Array): void {
    this.#write(storageKey, null);
  }

  commit(applied: Applied): void {
    const { index } = this.#record.applied;
    assert(
      applied.index === index || applied.index === index + 1,
      `entry ${applied.index} is committed after ${index}`,
    );
    this.#record = { ...this.#record, applied };
    this.#isEntryOpen = false;
    this.#isCommitted = true;
  }

  /** Bytes held for rows that are not in the backend yet, about. */
  overlayBytes(): number {
    let bytes = this.#layer.bytes;
    for (const layer of this.#frozen) bytes += layer.bytes;
    return bytes;
  }

  /** Resolves when all that is committed now is written. Never between the writes of an entry. */
  flush(): Promise<void> {
    assert(!this.#isEntryOpen, "flush within an entry");
    if (this.#inFlight === null) return this.#writeBatch();
    this.#queued ??= this.#inFlight.then(() => this.#writeBatch());
    return this.#queued;
  }

  /** The store as it is now. Never between the writes of an entry. */
  pin(): StoreView {
    assert(!this.#isEntryOpen, "pin within an entry");
    this.#freeze();
    if (this.#frozen.length - this.#inFlightCount > frozenLayersMax) {
      this.#frozen.push(mergeLayers(this.#frozen.splice(this.#inFlightCount)));
    }
    return new LayeredView({
      layers: [...this.#frozen],
      snapshot: this.#backend.snapshot(),
      damaged: (what) => this.damaged(what),
    });
  }

  damaged(what: string): never {
    this.#backend.markDamaged(what);
    throw new AssertionError(`the state store is damaged, and will be rebuilt at restart: ${what}`);
  }

  diskBytes(): Promise<number> {
    return this.#backend.diskBytes();
  }

  /** Writes what is committed and closes the backend. */
  async close(): Promise<void> {
    await this.flush();
    await this.#backend.close();
  }

  #getBelow(storageKey: Uint8Array): Uint8Array | undefined {
    let value: Uint8Array | undefined;
    try {
      value = this.#backend.getSync(storageKey);
    } catch (error) {
      if (!(error instanceof BackendDamageError)) throw error;
      this.damaged(error.message);
    }
    if (value === undefined) return undefined;
    return (
      openEnvelope(storageKey, value) ??
      this.damaged(`the row ${textOf(storageKey)} fails its checksum`)
    );
  }

  #write(storageKey: Uint8Array, value: OverlayValue): void {
    const prefix = storageKey[0] as number;
    assert(this.#isKnown[prefix] === 1, `rows with prefix ${prefix} were not declared`);
    if (this.#isSummed[prefix] === 1) this.#sum(storageKey, value);
    this.#layer.set(textOf(storageKey), value);
    this.#isEntryOpen = true;
  }

  #sum(storageKey: Uint8Array, value: OverlayValue): void {
    let { count, sum } = this.#record.summed;
    const old = this.get(storageKey);
    if (old !== undefined) {
      count--;
      sum -= rowCrc(storageKey, old);
    }
    if (value !== null) {
      count++;
      sum += rowCrc(storageKey, value);
    }
    this.#record = { ...this.#record, summed: { count, sum: sum >>> 0 } };
  }

  #freeze(): void {
    if (this.#layer.rows.size === 0) return;
    this.#frozen.push(this.#layer);
    this.#layer = new Layer();
  }

  #writeBatch(): Promise<void> {
    this.#queued = null;
    if (!this.#isCommitted) return Promise.resolve();
    this.#isCommitted = false;
    this.#freeze();
    this.#inFlightCount = this.#frozen.length;
    this.#inFlight = this.#writeOperations(this.#batchOf(this.#frozen));
    return this.#inFlight;
  }

  async #writeOperations(operations: readonly BackendOperation[]): Promise<void> {
    try {
      await this.#backend.write(operations);
    } catch (error) {
      // The disk refuses: what it holds now is not known, so nothing goes on (L1).
      throw new AssertionError(`the state store cannot be written: ${String(error)}`);
    }
    this.#frozen.splice(0, this.#inFlightCount);
    this.#inFlightCount = 0;
    this.#inFlight = null;
  }

  /** One batch follows another and the backend has copied it: they share their memory, unless one
   * is large. */
  #slabOf(bytes: number): Buffer {
    if (bytes > slabBytesMax) return Buffer.allocUnsafeSlow(bytes);
    this.#slab ??= Buffer.allocUnsafeSlow(slabBytesMax);
    return this.#slab;
  }

  #batchOf(layers: readonly Layer[]): BackendOperation[] {
    const rows = layers.length === 1 ? (layers[0] as Layer).rows : mergeLayers(layers).rows;
    let bytes = 0;
    for (const [key, value] of rows) bytes += packedBytes(key, value);
    const batch = this.#record.batch + 1;
    const dropped = this.#journal.add(bytes + ownRowsBytes);
    const packer = new RowPacker(this.#slabOf(bytes));
    const chainBefore = this.#record.chain;
    for (const [key, value] of rows) packer.add(key, value);
    const chain = crc32(packer.packed(), chainBefore);
    const { index } = this.#record.applied;
    const row = encodeJournalRow({
      first: this.#flushedIndex + 1,
      last: index,
      bytes: bytes + ownRowsBytes,
      chainBefore,
      chain,
    });
    this.#flushedIndex = index;
    const batchFirst = this.#journal.batchFirst();
    this.#record = { ...this.#record, batch, batchFirst, chain };
    const operations = packer.operations;
    const key = journalKey(batch);
    operations.push({ type: "put", key, value: envelope(key, row) });
    for (const old of dropped) operations.push({ type: "del", key: journalKey(old) });
    const value = envelope(appliedKey, encodeAppliedRecord(this.#record));
    operations.push({ type: "put", key: appliedKey, value });
    return operations;
  }
}

/** Null: of this format, new ones made so. */
async function openFormat(
  backend: Backend,
  snapshot: BackendSnapshot,
): Promise<StoreOpening | null> {
  const value = backend.getSync(formatKey);
  if (value === undefined) {
    const all = { first: new Uint8Array(0), end: Uint8Array.of(0xff) };
    const rows = await snapshot.rows(all, { rowsMax: 1, bytesMax: 1 });
    if (rows.length > 0) return { type: "damaged", reason: "the format row is missing" };
    const row = envelope(formatKey, Uint8Array.of(formatVersion));
    await backend.write([{ type: "put", key: formatKey, value: row }]);
    return null;
  }
  const version = openEnvelope(formatKey, value)?.[0];
  if (version === undefined) return { type: "damaged", reason: "the format row is damaged" };
  return version > formatVersion ? { type: "newerFormat", version } : null;
}

/** Undefined: damaged. */
function openRecord(backend: Backend): AppliedRecord | undefined {
  const value = backend.getSync(appliedKey);
  if (value === undefined) return emptyRecord;
  const payload = openEnvelope(appliedKey, value);
  return payload === undefined ? undefined : decodeAppliedRecord(payload);
}

/** A string: what is wrong. */
async function openSummedRows(
  snapshot: BackendSnapshot,
  record: AppliedRecord,
  prefixes: readonly number[],
): Promise<BackendRow[] | string> {
  const rows: BackendRow[] = [];
  let sum = 0;
  for (const prefix of prefixes) {
    for await (const page of scanPages(snapshot, prefixRange(prefix))) {
      for (const { key, value } of page) {
        const payload = openEnvelope(key, value);
        if (payload === undefined) return `the row ${textOf(key)} fails its checksum`;
        sum = (sum + envelopeCrc(value)) >>> 0;
        rows.push({ key, value: payload });
      }
    }
  }
  if (rows.length !== record.summed.count || sum !== record.summed.sum) {
    return `${rows.length} rows without an index, expected ${record.summed.count} of known sum`;
  }
  return rows;
}
