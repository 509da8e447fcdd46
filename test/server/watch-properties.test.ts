// The watch guarantees against a naive model: whatever is written, compacted, stalled, canceled and
// reconnected, every watcher sees exactly the events it asked for (I32-I39).
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { WatchId } from "../../src/base/ids.ts";
import { assert } from "../../src/base/assert.ts";
import { Prng } from "../../src/base/prng.ts";
import type { WatchCreateRequest, WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import { Event_EventType } from "../../src/proto/mvccpb/kv.ts";
import type { Event, KeyValue } from "../../src/proto/mvccpb/kv.ts";
import { bytes, text, WatchBench } from "./watch-bench.ts";
import type { Reader } from "./watch-bench.ts";

const keys = ["a", "b", "c", "ca", "cb", "d"];

interface Past {
  readonly revision: number;
  readonly events: readonly Event[];
  /** All pairs after it. */
  readonly pairs: ReadonlyMap<string, KeyValue>;
}

/** A watch as its client knows it. */
interface Client {
  readonly request: WatchCreateRequest;
  /** Everything below was delivered, or was not wanted. */
  next: number;
  isCreated: boolean;
  isOver: boolean;
  fragments: Event[];
}

class Model {
  readonly #past: Past[] = [{ revision: 1, events: [], pairs: new Map() }];

  record(revision: number, events: readonly Event[]): void {
    const pairs = new Map(this.at(revision - 1).pairs);
    for (const { type, kv } of events) {
      assert(kv !== undefined, "an event without a key");
      if (type === Event_EventType.DELETE) pairs.delete(text(kv.key));
      else pairs.set(text(kv.key), kv);
    }
    this.#past.push({ revision, events, pairs });
  }

  at(revision: number): Past {
    const past = this.#past[revision - 1];
    assert(past?.revision === revision, `the model lacks revision ${revision}`);
    return past;
  }

  wanted({ request }: Client, revision: number): Event[] {
    return this.at(revision).events.filter(({ type, kv }) => {
      assert(kv !== undefined, "an event without a key");
      if (request.filters.includes(type)) return false;
      return covers(request, text(kv.key));
    });
  }
}

function covers({ key, rangeEnd }: WatchCreateRequest, candidate: string): boolean {
  const [first, end] = [text(key), text(rangeEnd)];
  if (end === "") return candidate === first;
  return candidate >= first && (end === "\0" || candidate < end);
}

class Trial {
  readonly #bench: WatchBench;
  readonly #prng: Prng;
  readonly #model = new Model();
  readonly #readers: { reader: Reader; clients: Map<string, Client>; headerRevision: number }[] =
    [];
  deliveredCount = 0;

  constructor(bench: WatchBench, prng: Prng) {
    this.#bench = bench;
    this.#prng = prng;
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      this.#step();
      if (this.#prng.chance(0.3)) await this.#bench.settle();
      if (this.#prng.chance(0.1)) await this.#bench.flush();
    }
    await this.#readAll();
    const revision = this.#bench.mvcc.revision();
    for (const { clients } of this.#readers) {
      for (const client of clients.values()) this.#checkGap(client, revision + 1);
    }
  }

  #step(): void {
    const prng = this.#prng;
    const chance = prng.below(100);
    if (chance < 45) this.#write();
    else if (chance < 50) this.#compact();
    else if (chance < 58) this.#open();
    else if (chance < 72) this.#create();
    else if (chance < 76) this.#cancel();
    else if (chance < 90) this.#read();
    else if (chance < 93) this.#requestProgress();
    else if (chance < 96) this.#bench.time.advance(600);
    else this.#reconnect();
  }

  #write(): void {
    const count = this.#prng.pick([1, 1, 1, 2, 4]);
    const written = new Map<string, string | null>();
    for (let i = 0; i < count; i++) {
      const value = this.#prng.chance(0.3) ? null : "v".repeat(this.#prng.pick([0, 3, 40, 300]));
      written.set(this.#prng.pick(keys), value);
    }
    const events = this.#bench.write([...written]);
    if (events !== null) this.#model.record(events.revision, events.events);
  }

  #compact(): void {
    const { mvcc } = this.#bench;
    const floor = Math.max(1, mvcc.compactRevision());
    if (mvcc.revision() <= floor) return;
    this.#bench.compact(this.#prng.between(floor + 1, mvcc.revision()));
  }

  #open(): void {
    if (this.#readers.length === 6) return;
    const reader = this.#bench.openReader(this.#prng.pick([1, 100, 1000, Infinity]));
    this.#readers.push({ reader, clients: new Map(), headerRevision: 0 });
  }

  #create(): void {
    const prng = this.#prng;
    const revision = this.#bench.mvcc.revision();
    const [key, end] = prng.pick([
      ["a", ""],
      ["b", ""],
      ["a", "c"],
      ["c", "d"],
      ["ca", "\0"],
      ["", "\0"],
    ] as const);
    this.#createAt(prng.below(this.#readers.length), {
      key: bytes(key),
      rangeEnd: bytes(end),
      startRevision: prng.chance(0.4) ? 0 : prng.between(1, revision + 3),
      progressNotify: prng.chance(0.5),
      filters: prng.pick([[], [], [], [0], [1], [0, 1]]),
      prevKv: prng.chance(0.4),
      watchId: "0",
      fragment: prng.chance(0.3),
    });
  }

  #createAt(at: number, request: WatchCreateRequest): void {
    const open = this.#readers[at];
    if (open === undefined || open.reader.stream.isFull()) return;
    // Ids of our own, so that the answer can be told.
    const watchId = String(1 + this.#prng.below(1 << 30));
    const next =
      request.startRevision === 0 ? this.#bench.mvcc.revision() + 1 : request.startRevision;
    const wanted = { ...request, watchId };
    const isOver = false;
    open.clients.set(watchId, { request: wanted, next, isCreated: false, isOver, fragments: [] });
    this.#bench.create(open.reader, wanted);
  }

  #cancel(): void {
    const open = this.#readers[this.#prng.below(this.#readers.length)];
    if (open === undefined || open.reader.stream.isFull()) return;
    const [id] = open.clients.keys();
    if (id !== undefined) this.#bench.hub.cancel(open.reader.stream, id as WatchId);
  }

  #requestProgress(): void {
    const open = this.#readers[this.#prng.below(this.#readers.length)];
    if (open === undefined || open.reader.stream.isFull()) return;
    this.#bench.hub.requestProgress(open.reader.stream);
  }

  /** The stream breaks; its watches go on in another one from where they were. */
  #reconnect(): void {
    const at = this.#prng.below(this.#readers.length);
    const old = this.#readers[at];
    if (old === undefined) return;
    this.#bench.hub.closeStream(old.reader.stream);
    const reader = this.#bench.openReader(this.#prng.pick([100, Infinity]));
    this.#readers[at] = { reader, clients: new Map(), headerRevision: 0 };
    for (const { request, next, isOver } of old.clients.values()) {
      if (!isOver) this.#createAt(at, { ...request, startRevision: next });
    }
  }

  #read(): void {
    const at = this.#prng.below(this.#readers.length);
    const count = this.#prng.pick([1, 2, 10]);
    const open = this.#readers[at];
    if (open === undefined) return;
    for (const response of open.reader.sink.read(count)) this.#take(at, response);
  }

  async #readAll(): Promise<void> {
    for (const [at, { reader }] of this.#readers.entries()) {
      do {
        for (const response of reader.sink.read()) this.#take(at, response);
        await this.#bench.settle();
      } while (reader.sink.queue.length > 0);
    }
  }

  #take(at: number, response: WatchResponse): void {
    const open = this.#readers[at];
    assert(open !== undefined && response.header !== undefined, "a response out of nowhere");
    const { revision } = response.header;
    if (response.compactRevision === 0) {
      expect(revision).toBeGreaterThanOrEqual(open.headerRevision);
      open.headerRevision = revision;
    }
    if (response.watchId === "-1") {
      for (const client of open.clients.values()) {
        if (client.isCreated && !client.isOver) this.#takeProgress(client, revision);
      }
      return;
    }
    const client = open.clients.get(response.watchId);
    assert(client !== undefined && !client.isOver, "a response for a watch that is not there");
    if (response.created) {
      client.isCreated = true;
      return;
    }
    expect(client.isCreated).toBe(true);
    if (response.canceled) this.#takeCancel(client, response);
    else if (response.events.length === 0) this.#takeProgress(client, revision);
    else this.#takeEvents(client, response);
  }

  #takeCancel(client: Client, { compactRevision }: WatchResponse): void {
    client.isOver = true;
    if (compactRevision !== 0) expect(client.next).toBeLessThan(compactRevision);
  }

  // A bookmark: nothing that was wanted is missing up to it.
  #takeProgress(client: Client, revision: number): void {
    this.#checkGap(client, revision + 1);
    expect(client.request.startRevision).toBeLessThanOrEqual(revision);
    client.next = Math.max(client.next, revision + 1);
  }

  #takeEvents(client: Client, response: WatchResponse): void {
    client.fragments.push(...response.events);
    if (response.fragment) {
      expect(client.request.fragment).toBe(true);
      return;
    }
    const got = client.fragments;
    client.fragments = [];
    const last = got.at(-1)?.kv?.modRevision ?? 0;
    expect(last).toBeLessThanOrEqual(response.header?.revision ?? 0);
    const wanted: Event[] = [];
    for (let revision = client.next; revision <= last; revision++) {
      wanted.push(...this.#model.wanted(client, revision));
    }
    expect(got.map(plain)).toEqual(wanted.map(plain));
    for (const event of got) this.#checkPrev(client, event);
    this.deliveredCount += got.length;
    client.next = last + 1;
  }

  #checkPrev(client: Client, { kv, prevKv }: Event): void {
    assert(kv !== undefined, "an event without a key");
    const { pairs } = this.#model.at(kv.modRevision - 1);
    const before = pairs.get(text(kv.key));
    if (!client.request.prevKv || before === undefined) expect(prevKv).toBeUndefined();
    else if (prevKv === undefined) {
      expect(kv.modRevision - 1).toBeLessThan(this.#bench.mvcc.compactRevision());
    } else expect(plainPair(prevKv)).toEqual(plainPair(before));
  }

  /** Nothing wanted lies between what the client has and `end`. */
  #checkGap(client: Client, end: number): void {
    if (client.isOver) return;
    for (let revision = client.next; revision < end; revision++) {
      expect(this.#model.wanted(client, revision)).toEqual([]);
    }
  }
}

function plain({ type, kv }: Event) {
  assert(kv !== undefined, "an event without a key");
  return { type, ...plainPair(kv) };
}

function plainPair({ key, value, ...rest }: KeyValue) {
  return { ...rest, key: text(key), value: text(value) };
}

async function trial(seed: number, steps: number): Promise<Trial> {
  const prng = new Prng(seed);
  const bench = await WatchBench.open({
    fragmentBytes: 200,
    progressNotifyMs: 500,
    recentRevisionsMax: prng.pick([1, 3, 50]),
    recentBytesMax: prng.pick([1, 4000, 1 << 20]),
    scanBytesMax: prng.pick([1, 300, 1 << 16]),
    scanRevisionsMax: prng.pick([2, 1000]),
    scanWatchersMax: prng.pick([1, 2, 256]),
    responseBytesMax: prng.pick([1, 200, 1 << 14]),
  });
  const run = new Trial(bench, prng);
  await run.run(steps);
  return run;
}

test("WatchHub gives every watcher exactly its events, in order, whole and once", async () => {
  let deliveredCount = 0;
  await fc.assert(
    fc.asyncProperty(fc.integer(), async (seed) => {
      deliveredCount += (await trial(seed, 200)).deliveredCount;
    }),
    { numRuns: 200 },
  );
  expect(deliveredCount).toBeGreaterThan(10_000);
});
