// What the records of the log amount to so far: the replay that recovery, verify and the writer
// share. It reads no file; it is told each batch together with its place.
//
// Truncations are replayed in the order in which they were written, whatever came before (rule W6,
// etcd #22442). A checkpoint after the first changes nothing: it must say what the replay already
// knows, or the log contradicts itself.
import { equalBytes } from "../base/bytes.ts";
import type { Index } from "../base/ids.ts";
import { DecodeError, encodeConfiguration } from "../raft/codec.ts";
import type { Configuration, HardState } from "../raft/entry.ts";
import { EntryMap } from "./entry-map.ts";
import type { Identity } from "./log.ts";
import { pageRoom, type PagePlace } from "./page.ts";
import { decodeRecord, recordPlaces, type Checkpoint, type WalRecord } from "./record.ts";

export class LogState {
  readonly entries: EntryMap;
  #identity: Identity;
  readonly #configuration: Configuration;
  readonly #base: Checkpoint["base"];
  #hardState: HardState;

  constructor(checkpoint: Checkpoint) {
    this.#identity = checkpoint.identity;
    this.#configuration = checkpoint.configuration;
    this.#base = checkpoint.base;
    this.#hardState = checkpoint.hardState;
    this.entries = new EntryMap(checkpoint.base.index + 1);
  }

  firstIndex(): Index {
    return this.#base.index + 1;
  }

  lastIndex(): Index {
    return this.entries.last();
  }

  hardState(): HardState {
    return this.#hardState;
  }

  configuration(): Configuration {
    return this.#configuration;
  }

  identity(): Identity {
    return this.#identity;
  }

  /** For the next segment's start; `identity` is this start's. */
  checkpoint(identity: Identity): Checkpoint {
    return {
      identity,
      base: this.#base,
      lastIndex: this.lastIndex(),
      hardState: this.#hardState,
      configuration: this.#configuration,
    };
  }

  /**
   * Takes records of the batch whose first page is `place`, and in which they stand at `offset`.
   * Entries are only placed, not decoded: recovery checks them with checkRecords, the writer was
   * given them by this process.
   */
  apply(records: Uint8Array, place: PagePlace, offset: number): void {
    const origin = place.page * pageRoom + offset;
    for (const { type, start, end } of recordPlaces(records)) {
      if (type === "entry") {
        this.entries.push({ segment: place.segment, offset: origin + start });
        continue;
      }
      const record = decodeRecord(records.subarray(start, end));
      if (record.type === "truncate") this.#truncate(record.from);
      else if (record.type === "hardState") this.#hardState = record.hardState;
      else if (record.type === "checkpoint") this.#identity = record.checkpoint.identity;
    }
  }

  /** Decodes every record of the batch that comes next, and checks that it continues the log. */
  checkRecords(records: Uint8Array): WalRecord[] {
    const decoded: WalRecord[] = [];
    let last = this.lastIndex();
    for (const { start, end } of recordPlaces(records)) {
      const record = decodeRecord(records.subarray(start, end));
      if (record.type === "truncate") {
        if (record.from < this.firstIndex() || record.from > last) {
          throw new DecodeError(`truncation from ${record.from}, the log ends at ${last}`);
        }
        last = record.from - 1;
      }
      if (record.type === "entry") {
        if (record.entry.index !== last + 1) {
          throw new DecodeError(`entry ${record.entry.index} follows entry ${last}`);
        }
        last++;
      }
      if (record.type === "checkpoint") this.#requireSame(record.checkpoint);
      decoded.push(record);
    }
    return decoded;
  }

  #truncate(from: Index): void {
    if (from < this.firstIndex() || from > this.lastIndex()) {
      throw new DecodeError(`truncation from ${from}, the log ends at ${this.lastIndex()}`);
    }
    this.entries.truncate(from);
  }

  #requireSame(checkpoint: Checkpoint): void {
    const { identity, hardState, base } = checkpoint;
    const isSame =
      identity.cluster === this.#identity.cluster &&
      identity.member === this.#identity.member &&
      identity.store === this.#identity.store &&
      identity.start >= this.#identity.start &&
      hardState.term === this.#hardState.term &&
      hardState.vote === this.#hardState.vote &&
      hardState.commit === this.#hardState.commit &&
      base.index === this.#base.index &&
      checkpoint.lastIndex === this.lastIndex() &&
      equalBytes(
        encodeConfiguration(checkpoint.configuration),
        encodeConfiguration(this.#configuration),
      );
    if (!isSame) throw new DecodeError("the checkpoint does not say what the log says before it");
  }
}
