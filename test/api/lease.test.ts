import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { beforeEach, describe, expect, test } from "vitest";
import { leaseTtlSecondsMin } from "../../src/api/api-options.ts";
import { leaseMethods } from "../../src/api/lease.ts";
import { RequestError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import { Prng } from "../../src/base/prng.ts";
import { PutRequest, PutResponse } from "../../src/proto/etcdserverpb/kv.ts";
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
} from "../../src/proto/etcdserverpb/lease.ts";
import {
  call,
  callBytes,
  callStream,
  contextOf,
  startOneMember,
  testOptions,
} from "./one-member.ts";
import type { OneMemberCluster } from "./one-member.ts";

let cluster: OneMemberCluster;

beforeEach(async () => {
  cluster = await startOneMember();
});

const grant = (ID: string, TTL: number): Promise<LeaseGrantResponse> =>
  call(
    cluster,
    "/etcdserverpb.Lease/LeaseGrant",
    { request: LeaseGrantRequest, response: LeaseGrantResponse },
    { ID, TTL },
  );
const revoke = (ID: string): Promise<LeaseRevokeResponse> =>
  call(
    cluster,
    "/etcdserverpb.Lease/LeaseRevoke",
    { request: LeaseRevokeRequest, response: LeaseRevokeResponse },
    { ID },
  );
const timeToLive = (ID: string, keys = false): Promise<LeaseTimeToLiveResponse> =>
  call(
    cluster,
    "/etcdserverpb.Lease/LeaseTimeToLive",
    { request: LeaseTimeToLiveRequest, response: LeaseTimeToLiveResponse },
    { ID, keys },
  );
const put = (key: string, lease: string): Promise<PutResponse> =>
  call(
    cluster,
    "/etcdserverpb.KV/Put",
    { request: PutRequest, response: PutResponse },
    PutRequest.fromPartial({ key: Buffer.from(key), lease }),
  );

async function expectRefusal(answer: Promise<unknown>, code: ErrorCode): Promise<void> {
  await expect(answer).rejects.toEqual(RequestError.of(code));
}

const keepAliveOf = (ID: string): Uint8Array => LeaseKeepAliveRequest.encode({ ID }).finish();
const keepAlivePath = "/etcdserverpb.Lease/LeaseKeepAlive";

test("leaseMethods names the five methods of the service", () => {
  const methods = leaseMethods({ node: cluster.node, random: new Prng(1) }, testOptions);
  expect(methods.map(([path]) => path.replace("/etcdserverpb.Lease/", ""))).toEqual([
    "LeaseGrant",
    "LeaseRevoke",
    "LeaseKeepAlive",
    "LeaseTimeToLive",
    "LeaseLeases",
  ]);
});

test("leaseTtlSecondsMin is one and a half election timeouts, rounded up", () => {
  expect(leaseTtlSecondsMin(1000)).toBe(2);
  expect(leaseTtlSecondsMin(2000)).toBe(3);
  expect(leaseTtlSecondsMin(100)).toBe(1);
});

describe("LeaseGrant", () => {
  test("LeaseGrant picks a positive 63-bit id when the client leaves it open", async () => {
    const ids = new Set<string>();
    for (let i = 0; i < 50; i++) ids.add((await grant("0", 60)).ID);
    expect(ids.size).toBe(50);
    for (const id of ids) {
      expect(BigInt(id)).toBeGreaterThan(0n);
      expect(BigInt(id)).toBeLessThan(2n ** 63n);
    }
  });

  test("LeaseGrant keeps any id that the client chooses, exactly", async () => {
    for (const id of [
      "1",
      "9007199254740993",
      "9223372036854775807",
      "-9223372036854775808",
      "-1",
    ]) {
      expect((await grant(id, 60)).ID).toBe(id);
      await put("k", id);
      expect((await timeToLive(id, true)).keys).toEqual([Uint8Array.of(107)]);
    }
  });

  test("LeaseGrant raises a short TTL to the minimum, and says so", async () => {
    for (const ttl of [-5, 0, 1]) expect((await grant("0", ttl)).TTL).toBe(2);
    expect((await grant("0", 3)).TTL).toBe(3);
  });

  test("LeaseGrant refuses what etcd refuses, at the edges of 64 bits too", async () => {
    expect((await grant("5", 9_000_000_000)).TTL).toBe(9_000_000_000);
    await expectRefusal(grant("5", 60), "leaseExist");
    await expectRefusal(grant("6", 9_000_000_001), "leaseTTLTooLarge");
    for (const ttl of ["9007199254740992", "9223372036854775807"]) {
      const bytes = new BinaryWriter().tag(1, WireType.Varint).int64(ttl).finish();
      await expectRefusal(
        callBytes(cluster, "/etcdserverpb.Lease/LeaseGrant", bytes),
        "leaseTTLTooLarge",
      );
    }
    const lowest = new BinaryWriter()
      .tag(1, WireType.Varint)
      .int64("-9223372036854775808")
      .finish();
    const answer = await callBytes(cluster, "/etcdserverpb.Lease/LeaseGrant", lowest);
    expect(LeaseGrantResponse.decode(answer).TTL).toBe(2);
  });
});

describe("LeaseRevoke", () => {
  test("LeaseRevoke deletes the keys in one revision", async () => {
    await grant("7", 60);
    await put("a", "7");
    await put("b", "7");
    expect((await revoke("7")).header?.revision).toBe(4);
    expect(cluster.node.machine.mvcc.find(Buffer.from("a"))).toBeUndefined();
  });

  test("LeaseRevoke of an unknown lease is refused", async () => {
    await expectRefusal(revoke("7"), "leaseNotFound");
    await expectRefusal(revoke("0"), "leaseNotFound");
  });
});

describe("LeaseKeepAlive", () => {
  test("LeaseKeepAlive answers each request: the granted TTL, or 0 for no lease", async () => {
    await grant("7", 60);
    const requests = [keepAliveOf("7"), keepAliveOf("8"), keepAliveOf("7")];
    const answers = await callStream(cluster, keepAlivePath, requests);
    expect(answers.map((bytes) => LeaseKeepAliveResponse.decode(bytes))).toMatchObject([
      { ID: "7", TTL: 60, header: { revision: 1, raftTerm: 7 } },
      { ID: "8", TTL: 0 },
      { ID: "7", TTL: 60 },
    ]);
  });

  test("LeaseKeepAlive gives the revision from before the renewal", async () => {
    await grant("7", 60);
    const { leases } = cluster.node;
    const renew = leases.keepAlive;
    leases.keepAlive = async (id) => {
      const ttl = await renew(id);
      await put("k", "7");
      return ttl;
    };
    const [answer = new Uint8Array()] = await callStream(cluster, keepAlivePath, [
      keepAliveOf("7"),
    ]);
    expect(LeaseKeepAliveResponse.decode(answer).header?.revision).toBe(1);
    expect(cluster.node.machine.mvcc.revision()).toBe(2);
  });

  test("LeaseKeepAlive ends with the error when the leader cannot be asked", async () => {
    cluster.node.leader = null;
    await expectRefusal(callStream(cluster, keepAlivePath, [keepAliveOf("7")]), "noLeader");
  });

  test("LeaseKeepAlive refuses bytes that are no request", async () => {
    const answer = callStream(cluster, keepAlivePath, [Uint8Array.of(0x08)]);
    await expect(answer).rejects.toThrow(/error unmarshalling request/);
  });

  test("LeaseKeepAlive waits when its client does not read, and stops when it is gone", async () => {
    await grant("7", 60);
    const method = cluster.methods.get(keepAlivePath);
    if (method?.kind !== "stream") throw new Error("keepalive is a stream");
    const gone = new AbortController();
    let drained = (): void => {};
    let written = 0;
    async function* requests(): AsyncIterable<Uint8Array> {
      for (;;) yield keepAliveOf("7");
    }
    const sink = {
      write: () => ++written < 3,
      writeParts: () => true,
      drained: () => new Promise<void>((resolve) => (drained = resolve)),
    };
    const ended = method.handle(requests(), sink, { ...contextOf(), signal: gone.signal });
    await expect.poll(() => written).toBe(3);
    gone.abort();
    drained();
    await ended;
    expect(written).toBe(3);
  });
});

describe("LeaseTimeToLive", () => {
  test("LeaseTimeToLive tells what is left, and the keys in order when asked", async () => {
    await grant("7", 60);
    await put("b", "7");
    await put("a", "7");
    expect(await timeToLive("7")).toMatchObject({ ID: "7", TTL: 59, grantedTTL: 60, keys: [] });
    expect(cluster.node.barrierCount).toBe(0);
    const { keys, header } = await timeToLive("7", true);
    expect(keys.map((key) => Buffer.from(key).toString())).toEqual(["a", "b"]);
    expect(header?.revision).toBe(3);
    expect(cluster.node.barrierCount).toBe(1);
  });

  test("LeaseTimeToLive of an unknown lease is an answer", async () => {
    expect(await timeToLive("7", true)).toMatchObject({
      ID: "7",
      TTL: -1,
      grantedTTL: 0,
      keys: [],
    });
  });
});

describe("LeaseLeases", () => {
  test("LeaseLeases lists the ids known here, without a leader too", async () => {
    const ids = ["7", "-9223372036854775808", "3"];
    for (const id of ids) await grant(id, 60);
    await revoke("3");
    cluster.node.leader = null;
    const codecs = { request: LeaseLeasesRequest, response: LeaseLeasesResponse };
    const { leases } = await call(cluster, "/etcdserverpb.Lease/LeaseLeases", codecs, {});
    expect(leases.map(({ ID }) => ID)).toEqual(["7", "-9223372036854775808"]);
  });
});
