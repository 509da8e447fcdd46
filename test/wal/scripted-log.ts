// A log driven step by step over simulated files, beside a model that knows what it must hold. The
// model keeps the state after every append, so that a crash can be judged: what was acknowledged is
// there, and at most the one append whose sync was running beside it.
import { crc32 } from "node:zlib";
import { assert } from "../../src/base/assert.ts";
import type { Entry, HardState } from "../../src/raft/entry.ts";
import type { LogAppend } from "../../src/raft/ready.ts";
import { openDirectory } from "../../src/wal/data-directory.ts";
import type { Files } from "../../src/wal/files.ts";
import { decodeEntries, RecordBuffer } from "../../src/wal/record.ts";
import { prepareNow } from "../../src/wal/segment.ts";
import type { WalWriter } from "../../src/wal/wal-writer.ts";
import { create, store } from "./settle.ts";

export interface LogContent {
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
}

export const emptyContent: LogContent = {
  hardState: { term: 0, vote: null, commit: 0 },
  entries: [],
};

export function contentAfter(content: LogContent, { hardState, entries }: LogAppend): LogContent {
  const first = entries[0];
  const kept = first === undefined ? content.entries : content.entries.slice(0, first.index - 1);
  return { hardState: hardState ?? content.hardState, entries: [...kept, ...entries] };
}

export interface Opened {
  readonly writer: WalWriter;
  readonly start: number;
  readonly tornPages: number;
}

export function open(files: Files, segmentBytes: number): Opened {
  const opened = openDirectory(files, { directory: "/member", create, store, segmentBytes });
  return {
    writer: opened.writer,
    start: opened.identity.start,
    tornPages: opened.tornPages,
  };
}

/** A content in one line: quick to compare, and readable when it differs. */
export function describeContent({ hardState, entries }: LogContent): string {
  const { term, vote, commit } = hardState;
  const ids = entries.map((entry) => `${entry.term}:${entry.index}:${crc32(entry.data)}`);
  return `term ${term} vote ${vote} commit ${commit} entries ${ids.join(" ")}`;
}

/** Everything the log holds, described. */
export function contentOf(writer: WalWriter): string {
  const state = writer.state();
  const last = state.lastIndex();
  const records = last === 0 ? new Uint8Array(0) : writer.read(1, last, Infinity);
  return describeContent({ hardState: state.hardState(), entries: decodeEntries(records, 1) });
}

/** One batch, as the main thread would encode it. */
export function encodeAppend(batch: LogAppend, lastIndex: number): Uint8Array {
  const buffer = new RecordBuffer();
  if (batch.hardState !== null) buffer.addHardState(batch.hardState);
  const first = batch.entries[0];
  if (first !== undefined && first.index <= lastIndex) buffer.addTruncate(first.index);
  for (const entry of batch.entries) buffer.addEntry(entry);
  return buffer.take();
}

export type ScriptStep = LogAppend | "prepare" | "restart";

/** Runs a script until it ends or the disk fails; knows what was acknowledged. */
export class ScriptedLog {
  readonly #files: Files;
  readonly #segmentBytes: number;
  /** What was acknowledged last. */
  acknowledged: LogContent = emptyContent;
  /** What the append that runs now would make of it. */
  next: LogContent = emptyContent;
  /** The start counter that an open returned last. */
  start = 0;
  writer: WalWriter | null = null;

  constructor(files: Files, segmentBytes: number) {
    this.#files = files;
    this.#segmentBytes = segmentBytes;
  }

  run(script: readonly ScriptStep[]): void {
    this.#open();
    for (const step of script) this.#step(step);
  }

  #open(): void {
    const { writer, start } = open(this.#files, this.#segmentBytes);
    assert(start > this.start, "a start counter was used twice");
    this.start = start;
    this.writer = writer;
  }

  #step(step: ScriptStep): void {
    const writer = this.writer;
    assert(writer !== null, "the log is not open");
    if (step === "restart") {
      writer.close();
      this.#open();
      return;
    }
    if (step === "prepare") {
      if (writer.preparedMissing() <= 0) return;
      const preparation = writer.nextPreparation();
      prepareNow(this.#files, preparation);
      writer.addPrepared(preparation.name);
      return;
    }
    this.next = contentAfter(this.acknowledged, step);
    writer.append([encodeAppend(step, writer.state().lastIndex())]);
    this.acknowledged = this.next;
  }
}
