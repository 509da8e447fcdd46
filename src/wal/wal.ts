// The write-ahead log as the loop holds it: this side encodes, orders and keeps the promises; the
// body in the log's thread does the disk (wal-body.ts). Appends of one turn leave as one message
// whose buffer is given away, so nothing is copied between the threads.
//
//   append ──► gathering ──(end of turn)──► in flight ──(synced n)──► resolved, in order
//
// A failed write or sync, or a dead thread, is told to `fatal` once: it must end the process. No
// promise resolves or rejects after that, for nobody knows what is on disk (rule W9).
//
// Reads go through the body too, one slice at a time between batches: it alone knows where entries
// are, no file is shared between threads, and a cold disk stalls neither this thread nor, for
// longer than a slice, a batch.
import { randomBytes } from "node:crypto";
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { Index, StoreId } from "../base/ids.ts";
import type { Logger } from "../base/logger.ts";
import { DecodeError, entryBytes } from "../raft/codec.ts";
import type { Entry } from "../raft/entry.ts";
import type { LogAppend } from "../raft/ready.ts";
import type { WalCreate } from "./data-directory.ts";
import type { Files } from "./files.ts";
import { lockDirectory, type DirectoryLock } from "./lock.ts";
import type { Log, Recovered } from "./log.ts";
import { decodeEntries, RecordBuffer } from "./record.ts";
import { segmentBytesDefault } from "./segment.ts";
import { startInThread, startWorker, type WalChannel } from "./wal-channel.ts";
import { WalError } from "./wal-error.ts";
import type { WalReply } from "./wal-message.ts";

export interface WalOptions {
  /** The member's data directory; made when `create` says for whom. */
  readonly directory: string;
  /** Null: it must be there. Otherwise it must be this member's when it is. */
  readonly create: WalCreate | null;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Must end the process: the log cannot go on. Called once at most. */
  readonly fatal: (error: Error) => void;
  /** Told how long each batch took to be written and synced. */
  readonly synced?: (batchMs: number) => void;
  /** 64 MB unless given; whole pages of 4 kB. */
  readonly segmentBytes?: number;
  /** The body on this thread over these files, and no lock: for tests and the simulator. */
  readonly inThread?: { readonly files: Files; readonly store: StoreId };
}

/** Bytes that may wait for the disk; the loop's own limits keep far below. */
const waitingBytesMax = 1024 * 1024 * 1024;
const readingMax = 1024;
const readSliceBytes = 256 * 1024;

/** Opens the log of a data directory. Rejects with WalError when it cannot be opened. */
export async function openWal(options: WalOptions): Promise<Wal> {
  const lock = options.inThread === undefined ? lockDirectory(options.directory) : null;
  const channel = startChannel(options);
  try {
    return new Wal({ channel, lock, recovered: await untilOpened(channel) }, options);
  } catch (error) {
    await channel.end();
    lock?.release();
    throw error;
  }
}

function untilOpened(channel: WalChannel): Promise<Recovered> {
  return new Promise((resolve, reject) => {
    channel.listen({
      reply(reply) {
        if (reply.type === "opened") resolve(reply.recovered);
        else if (reply.type === "refused") reject(new WalError(reply.kind, reply.message));
        else if (reply.type === "failed") reject(failureOf(reply));
      },
      died: reject,
    });
  });
}

function startChannel(options: WalOptions): WalChannel {
  const { directory, create, inThread } = options;
  const store = inThread?.store ?? (randomBytes(16).toString("hex") as StoreId);
  const segmentBytes = options.segmentBytes ?? segmentBytesDefault;
  const start = { directory, create, store, segmentBytes };
  return inThread === undefined ? startWorker(start) : startInThread(inThread.files, start);
}

function failureOf(reply: { message: string; stack: string }): Error {
  const error = new Error(reply.message);
  error.stack = reply.stack;
  return error;
}

interface InFlight {
  readonly number: number;
  readonly bytes: number;
  readonly givenAt: number;
  readonly done: readonly (() => void)[];
}

interface Reading {
  readonly first: Index;
  readonly resolve: (entries: Entry[]) => void;
}

interface WalDeps {
  readonly channel: WalChannel;
  readonly lock: DirectoryLock | null;
  readonly recovered: Recovered;
}

export class Wal implements Log {
  readonly recovered: Recovered;
  readonly #channel: WalChannel;
  readonly #lock: DirectoryLock | null;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #fatal: (error: Error) => void;
  readonly #synced: (batchMs: number) => void;
  /** Of the log as given, not as synced. */
  #lastIndex: Index;
  /** Counts cuts of the log: a read that spans one ends before it. */
  #truncations = 0;
  #number = 0;
  readonly #gathering = new RecordBuffer();
  #gatheringDone: (() => void)[] = [];
  #gatheringSince = 0;
  readonly #inFlight: InFlight[] = [];
  #waitingBytes = 0;
  readonly #reading = new Map<number, Reading>();
  #closed: (() => void) | null = null;
  #isOver = false;

  constructor(deps: WalDeps, options: Pick<WalOptions, "clock" | "logger" | "fatal" | "synced">) {
    this.recovered = deps.recovered;
    this.#channel = deps.channel;
    this.#lock = deps.lock;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#fatal = options.fatal;
    this.#synced = options.synced ?? (() => {});
    this.#lastIndex = deps.recovered.lastIndex;
    deps.channel.listen({
      reply: (reply) => this.#take(reply),
      died: (error) => this.#fail(error),
    });
  }

  append(batch: LogAppend): Promise<void> {
    assert(this.#closed === null, "append to a closed log");
    if (this.#gatheringDone.length === 0) {
      this.#gatheringSince = this.#clock.now();
      queueMicrotask(() => this.#send());
    }
    if (batch.hardState !== null) this.#gathering.addHardState(batch.hardState);
    this.#addEntries(batch.entries);
    return new Promise((done) => this.#gatheringDone.push(done));
  }

  async read(first: Index, last: Index, bytesMax: number): Promise<Entry[]> {
    const { firstIndex } = this.recovered;
    assert(first >= firstIndex && first <= last && last <= this.#lastIndex, "read outside the log");
    const truncations = this.#truncations;
    const entries: Entry[] = [];
    let bytes = 0;
    for (let next = first; next <= last;) {
      const left = Math.min(readSliceBytes, bytesMax - bytes);
      for (const entry of await this.#readSlice(next, last, left)) {
        bytes += entryBytes(entry);
        if (entries.length > 0 && bytes > bytesMax) return entries;
        entries.push(entry);
        next++;
      }
      if (bytes >= bytesMax || this.#truncations !== truncations) return entries;
    }
    return entries;
  }

  syncAgeMs(): number {
    const oldest = this.#inFlight[0]?.givenAt;
    if (oldest !== undefined) return this.#clock.now() - oldest;
    return this.#gatheringDone.length > 0 ? this.#clock.now() - this.#gatheringSince : 0;
  }

  async close(): Promise<void> {
    assert(this.#closed === null, "the log is closed twice");
    this.#send();
    const closed = new Promise<void>((resolve) => {
      this.#closed = resolve;
    });
    // A log that failed has nothing to wait for.
    if (!this.#isOver) {
      this.#channel.post({ type: "close" }, []);
      await closed;
    }
    this.#isOver = true;
    await this.#channel.end();
    this.#lock?.release();
  }

  #addEntries(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    const isInLog = first.index >= this.recovered.firstIndex && first.index <= this.#lastIndex + 1;
    assert(isInLog, "an append leaves a gap in the log");
    if (first.index <= this.#lastIndex) {
      this.#gathering.addTruncate(first.index);
      this.#lastIndex = first.index - 1;
      this.#truncations++;
    }
    for (const entry of entries) {
      assert(entry.index === this.#lastIndex + 1, "the entries of an append are not contiguous");
      this.#gathering.addEntry(entry);
      this.#lastIndex++;
    }
  }

  /** Sends what this turn's appends gathered, as one message. */
  #send(): void {
    if (this.#gatheringDone.length === 0) return;
    const records = this.#gathering.take();
    this.#waitingBytes += records.length;
    assert(this.#waitingBytes <= waitingBytesMax, "too much waits for the disk");
    this.#inFlight.push({
      number: ++this.#number,
      bytes: records.length,
      givenAt: this.#gatheringSince,
      done: this.#gatheringDone,
    });
    this.#gatheringDone = [];
    this.#channel.post({ type: "append", number: this.#number, records }, [records.buffer]);
  }

  #readSlice(first: Index, last: Index, bytesMax: number): Promise<Entry[]> {
    // What was given before is to be seen: the body answers in the order of messages.
    this.#send();
    assert(this.#reading.size < readingMax, "too many reads of the log at once");
    const number = ++this.#number;
    this.#channel.post({ type: "read", number, first, last, bytesMax }, []);
    return new Promise((resolve) => this.#reading.set(number, { first, resolve }));
  }

  #take(reply: WalReply): void {
    if (this.#isOver) return;
    switch (reply.type) {
      case "synced":
        for (const { buffer } of reply.spent) this.#gathering.reuse(buffer as ArrayBuffer);
        this.#synced(reply.batchMs);
        this.#resolveUpTo(reply.number);
        return;
      case "records":
        this.#endRead(reply.number, reply.records);
        return;
      case "diskFull":
        this.#logger.warn({ error: reply.message }, "no space to prepare a log segment");
        return;
      case "failed":
        this.#fail(failureOf(reply));
        return;
      case "closed":
        this.#closed?.();
        return;
      case "opened":
      case "refused":
        this.#fail(new Error("the log was opened twice"));
    }
  }

  #endRead(number: number, records: Uint8Array): void {
    const reading = this.#reading.get(number);
    assert(reading !== undefined, "an answer to no read");
    this.#reading.delete(number);
    try {
      reading.resolve(decodeEntries(records, reading.first));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#fail(error);
    }
  }

  #resolveUpTo(number: number): void {
    for (;;) {
      const oldest = this.#inFlight[0];
      if (oldest === undefined || oldest.number > number) return;
      this.#inFlight.shift();
      this.#waitingBytes -= oldest.bytes;
      for (const done of oldest.done) done();
    }
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#fatal(error);
  }
}
