// The log's message loop, without a thread: requests in, replies out, group commit between. The
// worker runs it (wal-worker.ts), and so do tests on their own thread.
//
// One turn: of what has gathered, the appends at the front become one batch, up to a limit; a read
// at the front is answered, at most a slice of it. So appends that arrive while a sync runs share
// the next one, and a read delays a batch by one slice at most.
import type { Files } from "./files.ts";
import { openDirectory } from "./data-directory.ts";
import type { Recovered } from "./log.ts";
import { isDiskFull, type Preparation } from "./segment.ts";
import { WalError } from "./wal-error.ts";
import type { WalReply, WalRequest, WalStart } from "./wal-message.ts";
import type { WalWriter } from "./wal-writer.ts";

/** One batch's bytes, unless one append alone has more. */
const batchBytesMax = 8 * 1024 * 1024;

export interface WalBodyDeps {
  readonly files: Files;
  readonly post: (reply: WalReply) => void;
  /** Monotonic milliseconds; for what is told of a batch, never for what is done. */
  readonly now: () => number;
  /** Makes a prepared segment without delaying batches; then calls one of the two. */
  readonly prepare: (
    preparation: Preparation,
    answer: { done: () => void; failed: (error: Error) => void },
  ) => void;
}

export class WalBody {
  readonly #post: (reply: WalReply) => void;
  readonly #now: () => number;
  readonly #prepare: WalBodyDeps["prepare"];
  readonly #writer: WalWriter | null;
  #queue: WalRequest[] = [];
  #isPreparing = false;
  /** Prepared segments that were missing when the disk was found full; 0: it was not. */
  #missingWhenFull = 0;
  #isOver = false;

  /** Opens the directory, and says how that went. */
  constructor(deps: WalBodyDeps, start: WalStart) {
    this.#post = deps.post;
    this.#now = deps.now;
    this.#prepare = deps.prepare;
    this.#writer = this.#open(deps.files, start);
    this.#prepareMissing();
  }

  push(request: WalRequest): void {
    this.#queue.push(request);
  }

  /** One turn; true when more is waiting. */
  turn(): boolean {
    const writer = this.#writer;
    if (writer === null || this.#isOver) return false;
    try {
      this.#serve(writer);
    } catch (error) {
      this.#fail(error);
      return false;
    }
    this.#prepareMissing();
    return this.#queue.length > 0;
  }

  #open(files: Files, start: WalStart): WalWriter | null {
    try {
      const { writer, identity, tornPages } = openDirectory(files, start);
      const state = writer.state();
      const recovered: Recovered = {
        identity,
        hardState: state.hardState(),
        configuration: state.configuration(),
        firstIndex: state.firstIndex(),
        lastIndex: state.lastIndex(),
        tornPages,
      };
      this.#post({ type: "opened", recovered });
      return writer;
    } catch (error) {
      if (error instanceof WalError) {
        this.#post({ type: "refused", kind: error.kind, message: error.message });
      } else {
        this.#fail(error);
      }
      return null;
    }
  }

  #serve(writer: WalWriter): void {
    const request = this.#queue[0];
    if (request === undefined) return;
    switch (request.type) {
      case "append":
        this.#commit(writer);
        return;
      case "read":
        this.#queue.shift();
        this.#post({
          type: "records",
          number: request.number,
          records: writer.read(request.first, request.last, request.bytesMax),
        });
        return;
      case "close":
        this.#isOver = true;
        writer.close();
        this.#post({ type: "closed" });
    }
  }

  /** Writes the appends at the front of the queue as one batch. */
  #commit(writer: WalWriter): void {
    const records: Uint8Array[] = [];
    let bytes = 0;
    let count = 0;
    let number = 0;
    for (const request of this.#queue) {
      if (request.type !== "append") break;
      if (count > 0 && bytes + request.records.length > batchBytesMax) break;
      if (request.records.length > 0) records.push(request.records);
      bytes += request.records.length;
      number = request.number;
      count++;
    }
    this.#queue.splice(0, count);
    const begun = this.#now();
    if (bytes > 0) writer.append(records);
    this.#post({ type: "synced", number, batchMs: this.#now() - begun, spent: records });
  }

  #prepareMissing(): void {
    const writer = this.#writer;
    if (writer === null || this.#isOver || this.#isPreparing) return;
    if (writer.preparedMissing() <= this.#missingWhenFull) return;
    const preparation = writer.nextPreparation();
    this.#isPreparing = true;
    this.#prepare(preparation, {
      done: () => {
        this.#isPreparing = false;
        this.#missingWhenFull = 0;
        writer.addPrepared(preparation.name);
        this.#prepareMissing();
      },
      failed: (error) => {
        this.#isPreparing = false;
        if (!isDiskFull(error)) {
          this.#fail(error);
          return;
        }
        // Tried again when the next segment is taken; until then the spare is there (W11).
        this.#missingWhenFull = writer.preparedMissing();
        this.#post({ type: "diskFull", message: error.message });
      },
    });
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    this.#post({ type: "failed", message, stack: stack ?? "" });
  }
}
