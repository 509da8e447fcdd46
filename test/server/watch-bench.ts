// A watch hub over a real key space in memory, with streams whose clients read when told to. The
// clock stands still; `settle` lets everything run that needs no reading and no time.
import { WatchHub, watchHubDefaults } from "../../src/server/watch-hub.ts";
import type { WatchHubOptions } from "../../src/server/watch-hub.ts";
import { WatchHistory } from "../../src/server/watch-history.ts";
import type { WatchSink, WatchStream } from "../../src/server/watch-stream.ts";
import { assert } from "../../src/base/assert.ts";
import { concatBytes } from "../../src/base/bytes.ts";
import type { Clock } from "../../src/base/clock.ts";
import { noLease } from "../../src/base/ids.ts";
import type { ClusterId, MemberId } from "../../src/base/ids.ts";
import { WatchCreateRequest, WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import { TreeKeyIndex } from "../../src/state/key-index-tree.ts";
import { Mvcc } from "../../src/state/mvcc.ts";
import {
  compactionRowPrefix,
  historyRowPrefix,
  latestRowPrefix,
} from "../../src/state/mvcc-row.ts";
import type { RevisionEvents } from "../../src/state/outcome.ts";
import { CheckedStore } from "../../src/store/checked-store.ts";
import { MemoryBackend } from "../../src/store/memory-backend.ts";
import { FakeClock } from "../sim/fake-clock.ts";

export function bytes(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

export function text(value: Uint8Array): string {
  return Buffer.from(value).toString("latin1");
}

/** What a client has not read yet; full from `roomBytes` on. */
export class ReaderSink implements WatchSink {
  roomBytes: number;
  queuedBytes = 0;
  /** Most that ever was queued. */
  queuedBytesMost = 0;
  readonly queue: Uint8Array[] = [];
  #isFull = false;
  #resume: () => void = () => {};

  constructor(roomBytes: number) {
    this.roomBytes = roomBytes;
  }

  write(parts: readonly Uint8Array[]): boolean {
    assert(!this.#isFull, "written to a full sink");
    const message = concatBytes(parts);
    this.queue.push(message);
    this.queuedBytes += message.length;
    this.queuedBytesMost = Math.max(this.queuedBytesMost, this.queuedBytes);
    this.#isFull = this.queuedBytes >= this.roomBytes;
    return !this.#isFull;
  }

  onRoom(resume: () => void): void {
    this.#resume = resume;
  }

  /** Takes messages off the queue. */
  read(messagesMax = Infinity): WatchResponse[] {
    const taken = this.queue.splice(0, messagesMax);
    for (const message of taken) this.queuedBytes -= message.length;
    if (this.#isFull && this.queuedBytes < this.roomBytes) {
      this.#isFull = false;
      this.#resume();
    }
    return taken.map((message) => WatchResponse.decode(message));
  }
}

export interface Reader {
  readonly sink: ReaderSink;
  readonly stream: WatchStream;
}

export class WatchBench {
  readonly mvcc: Mvcc;
  readonly hub: WatchHub;
  readonly time = new FakeClock();
  term = 1;
  /** Views that history was read through. */
  pinCount = 0;
  readonly #store: CheckedStore;
  readonly #soon: (() => void)[] = [];

  private constructor(store: CheckedStore, options: Partial<WatchHubOptions>) {
    this.#store = store;
    this.mvcc = new Mvcc({ store, index: new TreeKeyIndex() }, { removedRevision: -1 });
    const clock: Clock = {
      now: () => this.time.now(),
      after: (delayMs, fire) => this.time.after(delayMs, fire),
      soon: (run) => {
        this.#soon.push(run);
      },
    };
    const header = {
      clusterId: "7" as ClusterId,
      memberId: "8" as MemberId,
      term: () => this.term,
    };
    const pin = () => {
      this.pinCount += 1;
      return store.pin();
    };
    const history = new WatchHistory({ reader: this.mvcc, store: { pin } });
    this.hub = new WatchHub(
      { history, header, clock, seed: 1 },
      { ...watchHubDefaults, ...options },
    );
  }

  static async open(options: Partial<WatchHubOptions> = {}): Promise<WatchBench> {
    const opening = await CheckedStore.open(new MemoryBackend(), {
      indexedPrefixes: [latestRowPrefix, historyRowPrefix, compactionRowPrefix],
      summedPrefixes: [],
      journalSpanBytes: 1 << 20,
    });
    assert(opening.type === "open", "an empty store opens");
    return new WatchBench(opening.store, options);
  }

  /** One revision, or none if nothing changes. Null: a delete. */
  write(changes: readonly (readonly [key: string, value: string | null])[]): RevisionEvents | null {
    const open = this.mvcc.begin();
    for (const [key, value] of changes) {
      if (value === null) open.deleteRange(bytes(key), new Uint8Array(0), { values: false });
      else open.put(bytes(key), bytes(value), noLease);
    }
    return this.#publish(open.end());
  }

  deleteRange(key: string, rangeEnd: string): RevisionEvents | null {
    const open = this.mvcc.begin();
    open.deleteRange(bytes(key), bytes(rangeEnd), { values: false });
    return this.#publish(open.end());
  }

  /** Moves the floor and removes what lies below. */
  compact(revision: number): void {
    assert(this.mvcc.compact(revision) === null, `compaction at ${revision} is refused`);
    this.#commit();
    while (this.mvcc.compactStep(1000));
  }

  flush(): Promise<void> {
    return this.#store.flush();
  }

  openReader(roomBytes = Infinity): Reader {
    const sink = new ReaderSink(roomBytes);
    const stream = this.hub.openStream(sink);
    sink.onRoom(() => this.hub.resume(stream));
    return { sink, stream };
  }

  create(reader: Reader, request: Partial<WatchCreateRequest>): void {
    this.hub.create(reader.stream, WatchCreateRequest.fromPartial(request));
  }

  /** One turn of what waits to run. */
  async turn(): Promise<void> {
    this.#soon.shift()?.();
    // Promises of the store in memory wait for nothing but their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }

  async settle(): Promise<void> {
    do {
      for (let run = this.#soon.shift(); run !== undefined; run = this.#soon.shift()) run();
      await this.turn();
    } while (this.#soon.length > 0);
  }

  #publish(events: RevisionEvents | null): RevisionEvents | null {
    this.#commit();
    if (events !== null) this.hub.publish(events);
    return events;
  }

  #commit(): void {
    const { index, term } = this.#store.applied;
    this.#store.commit({ index: index + 1, term, ...this.mvcc.summary() });
  }
}
