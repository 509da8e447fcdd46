import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { beforeEach, describe, expect, test } from "vitest";
import { kvMethods } from "../../src/api/kv.ts";
import { RequestError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import {
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { DeepPartial, RequestOp } from "../../src/proto/etcdserverpb/kv.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import { call, callBytes, startOneMember, testOptions } from "./one-member.ts";
import type { OneMemberCluster } from "./one-member.ts";

let cluster: OneMemberCluster;

beforeEach(async () => {
  cluster = await startOneMember();
});

const range = (request: DeepPartial<RangeRequest>): Promise<RangeResponse> =>
  call(
    cluster,
    "/etcdserverpb.KV/Range",
    { request: RangeRequest, response: RangeResponse },
    RangeRequest.fromPartial(request),
  );
const put = (request: DeepPartial<PutRequest>): Promise<PutResponse> =>
  call(
    cluster,
    "/etcdserverpb.KV/Put",
    { request: PutRequest, response: PutResponse },
    PutRequest.fromPartial(request),
  );
const del = (request: DeepPartial<DeleteRangeRequest>): Promise<DeleteRangeResponse> =>
  call(
    cluster,
    "/etcdserverpb.KV/DeleteRange",
    { request: DeleteRangeRequest, response: DeleteRangeResponse },
    DeleteRangeRequest.fromPartial(request),
  );
const txn = (request: DeepPartial<TxnRequest>): Promise<TxnResponse> =>
  call(
    cluster,
    "/etcdserverpb.KV/Txn",
    { request: TxnRequest, response: TxnResponse },
    TxnRequest.fromPartial(request),
  );
const compact = (request: DeepPartial<CompactionRequest>): Promise<CompactionResponse> =>
  call(
    cluster,
    "/etcdserverpb.KV/Compact",
    { request: CompactionRequest, response: CompactionResponse },
    CompactionRequest.fromPartial(request),
  );

const key = Buffer.from("key");
const value = Buffer.from("value");
const rangeOp = (request: DeepPartial<RangeRequest>): DeepPartial<RequestOp> => ({
  request: { $case: "requestRange", value: request },
});
const putOp = (request: DeepPartial<PutRequest>): DeepPartial<RequestOp> => ({
  request: { $case: "requestPut", value: request },
});

async function expectRefusal(answer: Promise<unknown>, code: ErrorCode): Promise<void> {
  await expect(answer).rejects.toEqual(RequestError.of(code));
}

test("kvMethods names the six methods of the service", () => {
  const paths = kvMethods(cluster.node, testOptions).map(([path]) => path);
  expect(paths.map((path) => path.replace("/etcdserverpb.KV/", ""))).toEqual([
    "Range",
    "RangeStream",
    "Put",
    "DeleteRange",
    "Txn",
    "Compact",
  ]);
});

describe("Put", () => {
  test("Put answers a whole header and, if asked, the pair before", async () => {
    const first = await put({ key, value });
    expect(first.header).toEqual({
      clusterId: "14841639068965178418",
      memberId: "10276657743932975437",
      revision: 2,
      raftTerm: 7,
    });
    expect(first.prevKv).toBeUndefined();
    const second = await put({ key, prevKv: true });
    expect(second.header?.revision).toBe(3);
    expect(second.prevKv).toMatchObject({ version: 1, modRevision: 2, lease: "0" });
  });

  test("Put lets the client's bytes into the log unchanged", async () => {
    // Fields out of order, and a default written out: not what our encoder would make.
    const bytes = new BinaryWriter()
      .tag(2, WireType.LengthDelimited)
      .bytes(value)
      .tag(1, WireType.LengthDelimited)
      .bytes(key)
      .tag(5, WireType.Varint)
      .bool(false)
      .finish();
    await callBytes(cluster, "/etcdserverpb.KV/Put", bytes);
    expect(Buffer.from(cluster.node.log[0] ?? []).includes(Buffer.from(bytes))).toBe(true);
  });

  test("Put keeps fields that it does not know out of the log", async () => {
    const request = PutRequest.fromPartial({ key, value });
    const bytes = new Uint8Array([...PutRequest.encode(request).finish(), 0xa0, 0x06, 1]);
    await callBytes(cluster, "/etcdserverpb.KV/Put", bytes);
    const command = Command.encode({
      request: { $case: "put", value: request },
      proposal: undefined,
    });
    expect(cluster.node.log).toEqual([command.finish()]);
  });

  test("Put refuses bytes that are no message, and nothing enters the log", async () => {
    const answer = callBytes(cluster, "/etcdserverpb.KV/Put", Uint8Array.of(0x0a, 9, 1));
    await expect(answer).rejects.toThrow(/error unmarshalling request/);
    expect(cluster.node.log).toEqual([]);
  });

  test("Put passes on refusals of the shape, of the machine and of the node", async () => {
    await expectRefusal(put({}), "emptyKey");
    await expectRefusal(put({ key, value, ignoreValue: true }), "valueProvided");
    await expectRefusal(put({ key, lease: "4", ignoreLease: true }), "leaseProvided");
    await expectRefusal(put({ key, ignoreValue: true }), "keyNotFound");
    await expectRefusal(put({ key, lease: "9223372036854775807" }), "leaseNotFound");
    await expectRefusal(
      put({ key, value: Buffer.alloc(testOptions.requestBytesMax) }),
      "requestTooLarge",
    );
    cluster.node.leader = null;
    await expectRefusal(put({ key }), "noLeader");
  });
});

describe("Range", () => {
  test("Range answers one key as it answers the range that holds only this key", async () => {
    await put({ key, value });
    await put({ key: Buffer.from("gone"), value });
    await put({ key: Buffer.from("empty") });
    await del({ key: Buffer.from("gone") });
    for (const name of ["key", "gone", "empty", "never"]) {
      const one = Buffer.from(name);
      const alone = await range({ key: one });
      expect(alone).toEqual(await range({ key: one, rangeEnd: Buffer.from(`${name}\0`) }));
      expect(alone.count).toBe(name === "key" || name === "empty" ? 1 : 0);
    }
  });

  beforeEach(async () => {
    for (const name of ["a", "b", "c"]) await put({ key: Buffer.from(name), value });
  });

  test("Range waits for the barrier unless it is serializable", async () => {
    await range({ key });
    expect(cluster.node.barrierCount).toBe(1);
    await range({ key, serializable: true });
    expect(cluster.node.barrierCount).toBe(1);
    cluster.node.leader = null;
    await expectRefusal(range({ key }), "noLeader");
    expect((await range({ key, serializable: true })).header?.revision).toBe(4);
  });

  test("Range answers with the newest revision in its header, whatever was asked", async () => {
    const response = await range({ key: Buffer.from("a"), rangeEnd: Buffer.of(0), revision: 2 });
    expect(response.header?.revision).toBe(4);
    expect(response.count).toBe(1);
  });

  test("Range takes numbers at the edge of 64 bits etcd's way", async () => {
    const edge = async (field: number, number: string): Promise<RangeResponse> => {
      const bytes = new BinaryWriter()
        .tag(1, WireType.LengthDelimited)
        .bytes(Buffer.from("a"))
        .tag(2, WireType.LengthDelimited)
        .bytes(Buffer.of(0));
      return RangeResponse.decode(
        await callBytes(
          cluster,
          "/etcdserverpb.KV/Range",
          bytes.tag(field, WireType.Varint).int64(number).finish(),
        ),
      );
    };
    for (const big of ["9007199254740992", "9223372036854775807"]) {
      await expectRefusal(edge(4, big), "futureRev");
      expect((await edge(3, big)).kvs).toHaveLength(3);
      expect((await edge(11, big)).kvs).toHaveLength(3);
      expect((await edge(10, big)).kvs).toHaveLength(0);
    }
    for (const small of ["-9007199254740992", "-9223372036854775808", "-1"]) {
      expect((await edge(4, small)).count).toBe(3);
      expect((await edge(3, small)).kvs).toHaveLength(3);
    }
  });

  test("Range refuses what makes no sense", async () => {
    await expectRefusal(range({}), "emptyKey");
    await expectRefusal(range({ key, sortTarget: 9 as 0 }), "invalidSortOption");
    await expectRefusal(range({ key, revision: 5 }), "futureRev");
    await compact({ revision: 3 });
    await expectRefusal(range({ key, revision: 2 }), "compacted");
    expect((await range({ key: Buffer.from("a"), revision: 3 })).count).toBe(1);
  });
});

describe("DeleteRange", () => {
  test("DeleteRange counts, returns what it removed, and moves nothing for nothing", async () => {
    await put({ key, value });
    const removed = await del({ key, prevKv: true });
    expect(removed).toMatchObject({
      deleted: 1,
      prevKvs: [{ version: 1 }],
      header: { revision: 3 },
    });
    expect(await del({ key })).toMatchObject({ deleted: 0, header: { revision: 3 } });
    await expectRefusal(del({}), "emptyKey");
  });
});

describe("Txn", () => {
  test("Txn that writes goes through the log and answers each operation", async () => {
    const response = await txn({ success: [putOp({ key, value }), rangeOp({ key })] });
    expect(response).toMatchObject({ succeeded: true, header: { revision: 2, raftTerm: 7 } });
    expect(response.responses.map(({ response: one }) => one?.$case)).toEqual([
      "responsePut",
      "responseRange",
    ]);
    expect(cluster.node.log).toHaveLength(1);
  });

  test("Txn that only reads is a read, serializable only when every range is", async () => {
    await put({ key, value });
    const local = { key, serializable: true };
    const compare = [
      { key, target: 0 as const, targetUnion: { $case: "version" as const, value: 1 } },
    ];
    const read = await txn({ compare, success: [rangeOp({ key })], failure: [rangeOp(local)] });
    expect(read).toMatchObject({ succeeded: true, header: { revision: 2 } });
    expect(cluster.node.barrierCount).toBe(1);
    await txn({ success: [rangeOp(local)], failure: [rangeOp(local)] });
    expect(cluster.node.barrierCount).toBe(1);
    await txn({ compare });
    expect(cluster.node.barrierCount).toBe(2);
    expect(cluster.node.log).toHaveLength(1);
    await expectRefusal(txn({ success: [rangeOp({ key, revision: 9 })] }), "futureRev");
  });

  test("Txn that only reads sees one revision, though writes come between its ranges", async () => {
    await put({ key, value });
    let ranges = 0;
    cluster.node.beforeRange = () => {
      if (++ranges === 2) void put({ key, value: Buffer.from("later") });
    };
    const read = await txn({
      success: [
        rangeOp({ key }),
        rangeOp({ key, rangeEnd: Buffer.of(0) }),
        rangeOp({ key, revision: 2 }),
      ],
    });
    const found = read.responses.map(
      ({ response }) => response?.$case === "responseRange" && response.value,
    );
    for (const one of found) {
      expect(one).toMatchObject({ header: { revision: 2 }, count: 1, kvs: [{ modRevision: 2 }] });
    }
    expect(cluster.node.machine.mvcc.revision()).toBe(3);
  });

  test("Txn with a nested one goes through the log even if it only reads", async () => {
    const nested = {
      request: { $case: "requestTxn" as const, value: { success: [rangeOp({ key })] } },
    };
    await txn({ success: [nested] });
    expect(cluster.node.log).toHaveLength(1);
  });

  test("Txn refuses before anything is written", async () => {
    await expectRefusal(
      txn({ success: Array.from({ length: 9 }, () => rangeOp({ key })) }),
      "tooManyOps",
    );
    await expectRefusal(txn({ success: [putOp({ key }), putOp({ key })] }), "duplicateKey");
    await expectRefusal(txn({ success: [{}] }), "keyNotFound");
    await expectRefusal(
      txn({ success: [putOp({ key }), putOp({ key: value, lease: "9" })] }),
      "leaseNotFound",
    );
    await expectRefusal(
      txn({ success: [putOp({ key }), rangeOp({ key: value, revision: 99 })] }),
      "futureRev",
    );
    expect(cluster.node.machine.mvcc.revision()).toBe(1);
  });
});

describe("Compact", () => {
  test("Compact answers the current revision, and waits when it is physical", async () => {
    await put({ key });
    await put({ key });
    expect((await compact({ revision: 2 })).header?.revision).toBe(3);
    expect(cluster.node.physicalCount).toBe(0);
    await compact({ revision: 3, physical: true });
    expect(cluster.node.physicalCount).toBe(1);
  });

  test("Compact refuses below the floor, above the newest, and at the edges of 64 bits", async () => {
    await expectRefusal(compact({ revision: -1 }), "compacted");
    await compact({ revision: 0 });
    await expectRefusal(compact({ revision: 0 }), "compacted");
    await expectRefusal(compact({ revision: 2 }), "futureRev");
    for (const edge of ["9007199254740992", "9223372036854775807"]) {
      const bytes = new BinaryWriter().tag(1, WireType.Varint).int64(edge).finish();
      await expectRefusal(callBytes(cluster, "/etcdserverpb.KV/Compact", bytes), "futureRev");
    }
  });
});
