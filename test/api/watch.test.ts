// The Watch method as the edges call it: bytes in, bytes out, a sink that fills, a client that goes.
import { beforeEach, describe, expect, test } from "vitest";
import { watchMethods } from "../../src/api/watch.ts";
import type { CallContext, ResponseSink, StreamMethod } from "../../src/api/method.ts";
import { assert } from "../../src/base/assert.ts";
import { concatBytes } from "../../src/base/bytes.ts";
import { RequestError } from "../../src/base/errors.ts";
import { WatchRequest, WatchResponse } from "../../src/proto/etcdserverpb/watch.ts";
import { bytes, WatchBench } from "../server/watch-bench.ts";

/** The client of one call: sends when told, reads when told. */
class Client implements ResponseSink, AsyncIterable<Uint8Array> {
  roomMessages = Infinity;
  readonly received: WatchResponse[] = [];
  readonly #abort = new AbortController();
  #sent: Uint8Array[] = [];
  #isHalfClosed = false;
  #wakeRequests: () => void = () => {};
  #drained: (() => void)[] = [];

  context(): CallContext {
    return { deadline: Infinity, signal: this.#abort.signal, metadata: new Map() };
  }

  send(...requests: Uint8Array[]): void {
    this.#sent.push(...requests);
    this.#wakeRequests();
  }

  halfClose(): void {
    this.#isHalfClosed = true;
    this.#wakeRequests();
  }

  leave(): void {
    this.#abort.abort();
    this.#wakeRequests();
    this.#wakeDrained();
  }

  read(): WatchResponse[] {
    const read = this.received.splice(0);
    this.#wakeDrained();
    return read;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      if (this.#abort.signal.aborted) throw RequestError.of("contextCanceled");
      const next = this.#sent.shift();
      if (next !== undefined) yield next;
      else if (this.#isHalfClosed) return;
      else await new Promise<void>((resolve) => (this.#wakeRequests = resolve));
    }
  }

  write(message: Uint8Array): boolean {
    assert(!this.#abort.signal.aborted, "a response after the client left");
    this.received.push(WatchResponse.decode(message));
    return this.received.length < this.roomMessages;
  }

  writeParts(parts: readonly Uint8Array[]): boolean {
    return this.write(concatBytes(parts));
  }

  drained(): Promise<void> {
    if (this.received.length < this.roomMessages) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  #wakeDrained(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }
}

function encoded(requestUnion: WatchRequest["requestUnion"]): Uint8Array {
  return WatchRequest.encode({ requestUnion }).finish();
}

function create(key: string, startRevision = 0): Uint8Array {
  const { requestUnion } = WatchRequest.fromPartial({
    requestUnion: { $case: "createRequest", value: { key: bytes(key), startRevision } },
  });
  return encoded(requestUnion);
}

const progress = encoded({ $case: "progressRequest", value: {} });
const cancel = (watchId: string) => encoded({ $case: "cancelRequest", value: { watchId } });

let bench: WatchBench;
let client: Client;
let method: StreamMethod;
let call: Promise<void>;

function start(): void {
  client = new Client();
  call = method.handle(client, client, client.context());
  // Looked at by the tests that end it.
  call.catch(() => {});
}

beforeEach(async () => {
  bench = await WatchBench.open();
  const [entry] = watchMethods({ watchHub: bench.hub });
  assert(entry?.[1].kind === "stream", "the method is a stream");
  expect(entry[0]).toBe("/etcdserverpb.Watch/Watch");
  method = entry[1];
  start();
});

describe("watchMethods", () => {
  test("creates, tells progress, delivers and cancels, in the order asked", async () => {
    client.send(create("a"), create("a"), progress, cancel("0"));
    await bench.settle();
    bench.write([["a", "1"]]);
    const seen = client
      .read()
      .map(({ watchId, created, canceled, events }) => [watchId, created, canceled, events.length]);
    expect(seen).toEqual([
      ["0", true, false, 0],
      ["1", true, false, 0],
      ["-1", false, false, 0],
      ["0", false, true, 0],
      ["1", false, false, 1],
    ]);
  });

  test("ignores a union that is empty or unknown, and goes on", async () => {
    client.send(new Uint8Array(0), Uint8Array.of(0x7a, 1, 0), create("a"));
    await bench.settle();
    expect(client.read()).toHaveLength(1);
  });

  test("refuses bytes that are no request, and forgets the stream's watches", async () => {
    client.send(create("a"), Uint8Array.of(0x0a, 200));
    await bench.settle();
    await expect(call).rejects.toThrow(RequestError);
    expect(client.read()).toHaveLength(1);
    bench.write([["a", "1"]]);
    expect(client.read()).toEqual([]);
  });

  test("keeps the watches of a client that half-closes", async () => {
    client.send(create("a"));
    client.halfClose();
    await bench.settle();
    bench.write([["a", "1"]]);
    expect(client.read()).toHaveLength(2);
  });

  test("ends with Canceled when the client goes, and writes nothing more", async () => {
    client.send(create("a"));
    client.halfClose();
    await bench.settle();
    client.leave();
    await expect(call).rejects.toThrow("etcdserver: watch canceled");
    bench.write([["a", "1"]]);
    expect(client.read()).toHaveLength(1);
  });

  test("waits with requests while the client does not read", async () => {
    client.roomMessages = 2;
    client.send(...Array.from({ length: 10 }, () => create("a")));
    await bench.settle();
    expect(client.received).toHaveLength(2);
    await bench.settle();
    expect(client.received).toHaveLength(2);
    let count = 0;
    while (client.received.length > 0) {
      count += client.read().length;
      await bench.settle();
    }
    expect(count).toBe(10);
  });

  test("goes on where it was when a client that stalled reads again", async () => {
    client.roomMessages = 2;
    client.send(create("a"));
    await bench.settle();
    for (let i = 0; i < 20; i++) bench.write([["a", String(i)]]);
    await bench.settle();
    expect(client.received).toHaveLength(2);
    const revisions: number[] = [];
    while (client.received.length > 0) {
      for (const { events } of client.read()) {
        for (const { kv } of events) revisions.push(kv?.modRevision ?? 0);
      }
      await bench.settle();
    }
    expect(revisions).toEqual(Array.from({ length: 20 }, (_, i) => i + 2));
  });

  test("leaves nothing behind when the client goes while it is stalled", async () => {
    client.roomMessages = 1;
    client.send(create("a"), create("a"));
    await bench.settle();
    client.leave();
    await expect(call).rejects.toThrow(RequestError);
    start();
    client.send(progress, create("a"));
    await bench.settle();
    bench.write([["a", "1"]]);
    await bench.settle();
    expect(client.read().map(({ watchId }) => watchId)).toEqual(["0", "0"]);
  });
});
