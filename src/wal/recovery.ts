// Opens the log of a directory: reads it, proves what is in it, and leaves it so that what is
// reported is on disk for good. Identity and lock are the caller's.
//
// A start cannot know whether the last batch was synced: its pages may come from the page cache of
// a process that died before the sync returned, or after a sync that failed (rules W9, W9a). So
// every start goes on in a new segment, whose first batch holds a checkpoint and the last batch's
// records again, synced, before anything is reported. What the old segment holds from there on is
// void, like a torn batch: never read again, and cut off.
//
//   scan, replay all but the last batch ──► sync its segment, remove drafts and what was only begun
//     │                                ──► new segment ──► remove what it replaces ──► ready
//     └──► damage: quarantine marker, refuse to start, keep the bytes (rule W8; and at each start
//          from then on, until a person removes the marker)
//
// A crash in the middle leaves drafts, prepared files, or a void segment; the next start finds the
// same log and does the same again.
import { assert } from "../base/assert.ts";
import { DecodeError } from "../raft/codec.ts";
import { entryIdZero, type Configuration } from "../raft/entry.ts";
import type { Files } from "./files.ts";
import { readSmallFile, replaceSmallFile } from "./files.ts";
import { identityText } from "./identity.ts";
import type { Identity } from "./log.ts";
import { LogState } from "./log-state.ts";
import { decodeRecord, recordPlaces, type WalRecord } from "./record.ts";
import { DamageError, scanLog, type Batch, type ScanResult } from "./scan.ts";
import { preparedName, preparedNumbers, removeDrafts, segmentName } from "./segment.ts";
import { WalError } from "./wal-error.ts";
import { WalWriter } from "./wal-writer.ts";

export const quarantineName = "quarantine";

export interface RecoveryOptions {
  readonly directory: string;
  readonly segmentBytes: number;
  /** This start's: its counter is already durable. */
  readonly identity: Identity;
}

export interface RecoveredLog {
  readonly writer: WalWriter;
  readonly tornPages: number;
}

export function recoverLog(files: Files, options: RecoveryOptions): RecoveredLog {
  const { directory, identity } = options;
  refuseQuarantined(files, directory);
  const { state, last, scan } = replayOrQuarantine(files, options);
  const { header } = last;
  syncSegment(files, directory, header.segment);
  removeDrafts(files, directory);
  const begun = scan.voidSegments.filter((id) => id > header.segment);
  removeSegments(files, directory, begun);
  // Gone for good before the next one has a name: two segments that were only begun are damage.
  if (begun.length > 0) files.syncDirectory(directory);
  const writer = new WalWriter(files, {
    directory,
    segmentBytes: options.segmentBytes,
    state,
    identity,
    end: header.durable,
    newestSegment: Math.max(...scan.segments, ...scan.voidSegments),
    chain: last.chainBefore,
    // One number is left out: a torn batch, now void, may have had it.
    batch: header.batch + 2,
    prepared: usablePrepared(files, directory, options.segmentBytes),
  });
  writer.append([withoutCheckpoint(last.records)]);
  // Until now these may have held the only copy on disk of what was acknowledged.
  const replaced = scan.voidSegments.filter((id) => id < header.segment);
  if (header.firstPage === 0) replaced.push(header.segment);
  removeSegments(files, directory, replaced);
  return { writer, tornPages: scan.tornPages };
}

/**
 * The newest batch may be in the page cache only. Its records are written again in any case, for
 * after a failed sync this one proves nothing; but if power goes meanwhile, a torn batch here with a
 * segment begun behind it would look like damage.
 */
function syncSegment(files: Files, directory: string, id: number): void {
  const file = files.open(`${directory}/${segmentName(id)}`, "existing");
  files.sync(file);
  files.close(file);
}

function removeSegments(files: Files, directory: string, ids: readonly number[]): void {
  for (const id of ids) files.unlink(`${directory}/${segmentName(id)}`);
}

export interface CreateOptions extends RecoveryOptions {
  readonly configuration: Configuration;
}

/** Writes the first segment of an empty log, in a directory that nobody uses yet. */
export function createLog(files: Files, options: CreateOptions): void {
  const { directory, segmentBytes, identity, configuration } = options;
  const state = new LogState({
    identity,
    base: entryIdZero,
    lastIndex: 0,
    hardState: { term: 0, vote: null, commit: 0 },
    configuration,
  });
  const end = { segment: 0, page: 0 };
  const writer = new WalWriter(files, {
    directory,
    segmentBytes,
    state,
    identity,
    end,
    newestSegment: 0,
    chain: 0,
    batch: 1,
    prepared: [],
  });
  writer.append([]);
  writer.close();
}

export interface Replay {
  /** All but the last batch, which nothing proves to have been synced. */
  readonly state: LogState;
  readonly last: Batch;
  readonly scan: ScanResult;
}

/** Reads the whole log. `visit` sees each batch with its records, checked, in order. */
export function replayLog(
  files: Files,
  directory: string,
  identity: Identity,
  visit: (batch: Batch, records: readonly WalRecord[]) => void,
): Replay {
  const replayer = new Replayer(identity, visit);
  const scan = scanLog(files, directory, identity.cluster, (batch) => replayer.take(batch));
  return replayer.end(directory, scan);
}

class Replayer {
  readonly #identity: Identity;
  readonly #visit: (batch: Batch, records: readonly WalRecord[]) => void;
  #state: LogState | null = null;
  #last: Batch | null = null;

  constructor(identity: Identity, visit: (batch: Batch, records: readonly WalRecord[]) => void) {
    this.#identity = identity;
    this.#visit = visit;
  }

  take(batch: Batch): void {
    const { segment, firstPage, durableIndex } = batch.header;
    try {
      this.#state ??= this.#firstState(batch);
      if (this.#last !== null) applyBatch(this.#state, this.#last);
      this.#last = batch;
      if (durableIndex !== this.#state.lastIndex()) {
        throw new DecodeError("the batch does not know the log's last index before it");
      }
      const records = this.#state.checkRecords(batch.records);
      const opensSegment = records[0]?.type === "checkpoint";
      if (opensSegment !== (firstPage === 0)) {
        throw new DecodeError("a checkpoint that is not at its segment's start, or none there");
      }
      this.#visit(batch, records);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw new DamageError({ segment, page: firstPage }, error.message);
    }
  }

  end(directory: string, scan: ScanResult): Replay {
    if (this.#state === null || this.#last === null) {
      throw new WalError(
        "missing",
        `${directory} holds no log although this member was started before: restore the ` +
          "directory, or remove the member from the cluster and add it again with an empty one",
      );
    }
    return { state: this.#state, last: this.#last, scan };
  }

  #firstState(batch: Batch): LogState {
    const place = recordPlaces(batch.records)[0];
    if (place?.type !== "checkpoint") throw new DecodeError("the log does not begin so");
    const record = decodeRecord(batch.records.subarray(place.start, place.end));
    assert(record.type === "checkpoint", "a record changed its type");
    const { checkpoint } = record;
    refuseOtherIdentity(checkpoint.identity, this.#identity);
    if (checkpoint.lastIndex !== checkpoint.base.index) {
      throw new DecodeError("entries before the first segment are missing");
    }
    return new LogState(checkpoint);
  }
}

/** Takes a batch of the log that was read. */
export function applyBatch(state: LogState, batch: Batch): void {
  const { segment, firstPage } = batch.header;
  state.apply(batch.records, { segment, page: firstPage }, 0);
}

function refuseOtherIdentity(found: Identity, expected: Identity): void {
  const isSame =
    found.cluster === expected.cluster &&
    found.member === expected.member &&
    found.store === expected.store;
  if (isSame) return;
  throw new WalError(
    "identity",
    `the log belongs to ${identityText(found)}, the directory to ${identityText(expected)}: ` +
      "parts of two data directories were mixed; put the right ones together again",
  );
}

function refuseQuarantined(files: Files, directory: string): void {
  const marker = readSmallFile(files, directory, quarantineName);
  if (marker === null) return;
  throw new WalError("corrupt", Buffer.from(marker).toString("utf8").trim());
}

function replayOrQuarantine(files: Files, options: RecoveryOptions): Replay {
  const { directory } = options;
  try {
    return replayLog(files, directory, options.identity, () => {});
  } catch (error) {
    if (!(error instanceof DamageError)) throw error;
    const text =
      `${error.message}. The bytes are kept in ${directory}. This member cannot start: remove it ` +
      "from the cluster and add it again with an empty directory; or restore the damaged file " +
      `and delete ${directory}/${quarantineName}`;
    replaceSmallFile(files, directory, quarantineName, Buffer.from(`${text}\n`));
    throw new WalError("corrupt", text);
  }
}

function usablePrepared(files: Files, directory: string, segmentBytes: number): number[] {
  return preparedNumbers(files.list(directory) ?? []).filter((number) => {
    const path = `${directory}/${preparedName(number)}`;
    const file = files.open(path, "existing");
    const isUsable = files.size(file) === segmentBytes;
    files.close(file);
    if (!isUsable) files.unlink(path);
    return isUsable;
  });
}

function withoutCheckpoint(records: Uint8Array): Uint8Array {
  const first = recordPlaces(records)[0];
  return first?.type === "checkpoint" ? records.subarray(first.end) : records;
}
