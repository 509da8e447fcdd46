import { expect, test } from "vitest";
import type { MemberId } from "../../src/base/ids.ts";
import { PutRequest, PutResponse } from "../../src/proto/etcdserverpb/kv.ts";
import { LeaseGrantRequest, LeaseGrantResponse } from "../../src/proto/etcdserverpb/lease.ts";
import { WatchCreateRequest } from "../../src/proto/etcdserverpb/watch.ts";
import { metricsSource } from "../../src/server/metrics-source.ts";
import type { NodeCounts, NodeStatus } from "../../src/server/node.ts";
import { ServingWatch } from "../../src/server/serving-watch.ts";
import { call, startOneMember } from "../api/one-member.ts";
import { FakeClock } from "../sim/fake-clock.ts";

const self = "1" as MemberId;
const peer = "2" as MemberId;
const counts: NodeCounts = {
  puts: 1,
  deletedKeys: 0,
  ranges: 0,
  txns: 0,
  leasesGranted: 1,
  leasesRevoked: 0,
  proposalsPending: 0,
  proposalsFailed: 0,
  leasesRenewed: 0,
};

test("metricsSource asks each part at the time of the scrape", async () => {
  const cluster = await startOneMember();
  const { machine, watchHub } = cluster.node;
  const clock = new FakeClock();
  const serving = new ServingWatch(() => self, clock);
  const applied = () => machine.appliedId().index;
  const status = () => ({ ...cluster.node.status(), applied: applied() }) as NodeStatus;
  let connections = 2;
  const source = metricsSource({
    node: { machine, watchHub, status, counts: () => counts },
    store: { diskBytes: async () => 4096 },
    transport: {
      traffic: () => [{ peer, sentBytes: 7, receivedBytes: 8 }],
      connected: () => [peer],
    },
    peers: [peer],
    serving,
    listeners: [{ connectionCount: () => connections }, { connectionCount: () => 1 }],
    quotaBytes: 5,
  });
  const seen = async () => [
    source.keyCount(),
    source.leaseCount(),
    source.status().applied,
    source.watches().streams,
    source.clientConnections(),
    source.leaderChanges(),
    await source.storeBytes(),
  ];
  expect(await seen()).toEqual([0, 0, 0, 0, 3, 0, 4096]);
  const put = PutRequest.fromPartial({ key: new Uint8Array([1]) });
  const codecs = { request: PutRequest, response: PutResponse };
  await call(cluster, "/etcdserverpb.KV/Put", codecs, put);
  await call(
    cluster,
    "/etcdserverpb.Lease/LeaseGrant",
    { request: LeaseGrantRequest, response: LeaseGrantResponse },
    { ID: "7", TTL: 60 },
  );
  watchHub.openStream({ write: () => true });
  connections = 4;
  serving.start();
  expect(await seen()).toEqual([1, 1, 2, 1, 5, 1, 4096]);
  expect(source.compactRevision()).toBe(-1);
  expect([source.peers(), source.connectedPeers()]).toEqual([[peer], [peer]]);
  expect(source.traffic()).toEqual([{ peer, sentBytes: 7, receivedBytes: 8 }]);
  expect([source.quotaBytes, source.counts()]).toEqual([5, counts]);
  serving.stop();
});

test("watch counts: an event counts for each watcher that it was sent to, also after they left", async () => {
  const cluster = await startOneMember();
  const { watchHub } = cluster.node;
  const put = (key: number) =>
    call(
      cluster,
      "/etcdserverpb.KV/Put",
      { request: PutRequest, response: PutResponse },
      PutRequest.fromPartial({ key: new Uint8Array([key]) }),
    );
  const stream = watchHub.openStream({ write: () => true });
  for (const fragment of [false, true]) {
    watchHub.create(stream, WatchCreateRequest.fromPartial({ key: new Uint8Array([1]), fragment }));
  }
  await put(1);
  await put(2);
  expect(watchHub.counts()).toEqual({ watchers: 2, streams: 1, behind: 0, eventsSent: 2 });
  watchHub.closeStream(stream);
  watchHub.closeStream(stream);
  await put(1);
  expect(watchHub.counts()).toEqual({ watchers: 0, streams: 0, behind: 0, eventsSent: 2 });
});
