import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { rangeStream } from "../../src/api/range-stream.ts";
import { RequestError, grpcStatus } from "../../src/base/errors.ts";
import {
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RangeStreamResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { DeepPartial } from "../../src/proto/etcdserverpb/kv.ts";
import { call, callStream, contextOf, startOneMember, testOptions } from "./one-member.ts";
import type { OneMemberCluster } from "./one-member.ts";

let cluster: OneMemberCluster;

beforeEach(async () => {
  cluster = await startOneMember();
});

const put = (key: string, size: number): Promise<PutResponse> =>
  call(
    cluster,
    "/etcdserverpb.KV/Put",
    { request: PutRequest, response: PutResponse },
    PutRequest.fromPartial({ key: Buffer.from(key), value: Buffer.alloc(size, 120) }),
  );
const nameOf = (i: number): string => `k${String(i).padStart(4, "0")}`;
const all = { key: Buffer.of(0), rangeEnd: Buffer.of(0) };

async function pieces(request: DeepPartial<RangeRequest>): Promise<RangeResponse[]> {
  const bytes = RangeRequest.encode(RangeRequest.fromPartial(request)).finish();
  const messages = await callStream(cluster, "/etcdserverpb.KV/RangeStream", [bytes]);
  return messages.map((message) => {
    const { rangeResponse } = RangeStreamResponse.decode(message);
    if (rangeResponse === undefined) throw new Error("each message has a piece");
    return rangeResponse;
  });
}

/** As protobuf merges messages. */
function merged(parts: readonly RangeResponse[]): RangeResponse {
  const last = parts.at(-1);
  if (last === undefined) throw new Error("there is a piece at least");
  return { ...last, kvs: parts.flatMap(({ kvs }) => kvs) };
}

function range(request: DeepPartial<RangeRequest>): Promise<RangeResponse> {
  const codecs = { request: RangeRequest, response: RangeResponse };
  return call(cluster, "/etcdserverpb.KV/Range", codecs, RangeRequest.fromPartial(request));
}

describe("rangeStream", () => {
  test("rangeStream pieces merge to the answer of Range", async () => {
    for (let i = 0; i < 60; i++) await put(nameOf(i), (i * 37) % 400);
    const requests = fc.record({
      key: fc.constantFrom("\0", "k0005", "k0059", "x").map((key) => Buffer.from(key)),
      rangeEnd: fc.constantFrom("", "\0", "k0030", "a").map((end) => Buffer.from(end)),
      limit: fc.constantFrom(0, 1, 9, 10, 11, 25, 60, 1000),
      revision: fc.constantFrom(0, 2, 30, 61),
      keysOnly: fc.boolean(),
      countOnly: fc.boolean(),
      serializable: fc.boolean(),
    });
    const property = fc.asyncProperty(requests, async (request) => {
      expect(merged(await pieces(request))).toEqual(await range(request));
    });
    await fc.assert(property, { numRuns: 300 });
  });

  test("rangeStream gives header, count and more in the last piece only", async () => {
    for (let i = 0; i < 40; i++) await put(nameOf(i), 10);
    const found = await pieces({ ...all, limit: 35 });
    expect(found.map(({ kvs }) => kvs.length)).toEqual([10, 20, 5]);
    expect(found.map(({ header }) => header?.revision)).toEqual([undefined, undefined, 41]);
    expect(found.map(({ count }) => count)).toEqual([0, 0, 40]);
    expect(found.map(({ more }) => more)).toEqual([false, false, true]);
  });

  test("rangeStream sizes its pieces by their weight", async () => {
    for (let i = 0; i < 40; i++) await put(nameOf(i), 4000);
    const sizes = (await pieces(all)).map(({ kvs }) => kvs.length);
    // The aim is 10 kB and a key weighs 4: halved from above 20 kB, and kept from 5 to 20.
    expect(sizes.slice(0, 5)).toEqual([10, 5, 2, 2, 2]);
  });

  test("rangeStream reads one revision, whatever is written meanwhile", async () => {
    for (let i = 0; i < 30; i++) await put(nameOf(i), 10);
    let ranges = 0;
    cluster.node.beforeRange = () => {
      if (++ranges === 2) void put(nameOf(20), 999);
    };
    const { kvs, header } = merged(await pieces(all));
    expect(header?.revision).toBe(31);
    expect(kvs).toHaveLength(30);
    expect(Math.max(...kvs.map(({ modRevision }) => modRevision))).toBe(31);
  });

  test("rangeStream ends with compacted when compaction overtakes it", async () => {
    for (let i = 0; i < 30; i++) await put(nameOf(i), 10);
    let ranges = 0;
    cluster.node.beforeRange = () => {
      if (++ranges !== 2) return;
      void put("x", 1);
      cluster.node.machine.mvcc.compact(32);
    };
    await expect(pieces(all)).rejects.toEqual(RequestError.of("compacted"));
  });

  test("rangeStream refuses orders and filters that it does not serve", async () => {
    const sorts = "RangeStream does not support custom sort orders";
    const filters = "RangeStream does not support revision filters";
    const status = grpcStatus.unimplemented;
    for (const request of [{ sortOrder: 2 }, { sortTarget: 3 }] as const) {
      await expect(pieces({ ...all, ...request })).rejects.toMatchObject({
        status,
        message: sorts,
      });
    }
    for (const field of ["minModRevision", "maxCreateRevision"]) {
      await expect(pieces({ ...all, [field]: 1 })).rejects.toMatchObject({
        status,
        message: filters,
      });
    }
    await expect(pieces({})).rejects.toEqual(RequestError.of("emptyKey"));
    await expect(pieces({ ...all, sortTarget: 9 as 0 })).rejects.toEqual(
      RequestError.of("invalidSortOption"),
    );
    await expect(pieces({ ...all, revision: 99 })).rejects.toEqual(RequestError.of("futureRev"));
    expect(await pieces({ ...all, sortOrder: 1 })).toHaveLength(1);
  });

  test("rangeStream waits for its client, and stops when it is gone", async () => {
    for (let i = 0; i < 30; i++) await put(nameOf(i), 10);
    const gone = new AbortController();
    let written = 0;
    const sink = {
      write: () => ++written < 1,
      writeParts: () => true,
      drained: async () => gone.abort(),
    };
    async function* requests(): AsyncIterable<Uint8Array> {
      yield RangeRequest.encode(RangeRequest.fromPartial(all)).finish();
    }
    const context = { ...contextOf(), signal: gone.signal };
    await rangeStream(cluster.node, testOptions).handle(requests(), sink, context);
    expect(written).toBe(1);
  });

  test("rangeStream without a request is an error of the call", async () => {
    const answer = callStream(cluster, "/etcdserverpb.KV/RangeStream", []);
    await expect(answer).rejects.toMatchObject({ status: grpcStatus.internal });
  });
});
