import { expect, test } from "vitest";
import { dbQuotaBytesDefault } from "../../src/api/api-options.ts";
import { maintenanceMethods } from "../../src/api/maintenance.ts";
import { grpcStatus } from "../../src/base/errors.ts";
import { etcdVersion } from "../../src/base/version.ts";
import {
  AlarmRequest,
  AlarmResponse,
  StatusRequest,
  StatusResponse,
} from "../../src/proto/etcdserverpb/maintenance.ts";
import { call, callBytes, startOneMember, testOptions } from "./one-member.ts";
import type { OneMemberCluster } from "./one-member.ts";

const status = (cluster: OneMemberCluster): Promise<StatusResponse> =>
  call(
    cluster,
    "/etcdserverpb.Maintenance/Status",
    { request: StatusRequest, response: StatusResponse },
    {},
  );
const alarm = (cluster: OneMemberCluster, request: Partial<AlarmRequest>): Promise<AlarmResponse> =>
  call(
    cluster,
    "/etcdserverpb.Maintenance/Alarm",
    { request: AlarmRequest, response: AlarmResponse },
    AlarmRequest.fromPartial(request),
  );

test("maintenanceMethods leaves out what is not served", async () => {
  const { node } = await startOneMember();
  const methods = maintenanceMethods({ node, dbBytes: () => Promise.resolve(0) }, testOptions);
  expect(methods.map(([path]) => path)).toEqual([
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Alarm",
  ]);
});

test("Status tells versions, sizes, indexes and the leader", async () => {
  const cluster = await startOneMember();
  expect(await status(cluster)).toEqual({
    header: {
      clusterId: "14841639068965178418",
      memberId: "10276657743932975437",
      revision: 1,
      raftTerm: 7,
    },
    version: etcdVersion,
    dbSize: 4096,
    leader: "10276657743932975437",
    raftIndex: 0,
    raftTerm: 7,
    raftAppliedIndex: 0,
    errors: [],
    dbSizeInUse: 4096,
    isLearner: false,
    storageVersion: "3.7.0",
    dbSizeQuota: dbQuotaBytesDefault,
    downgradeInfo: { enabled: false, targetVersion: "" },
  });
});

test("Status answers without a leader, and says so", async () => {
  const cluster = await startOneMember();
  cluster.node.leader = null;
  expect(await status(cluster)).toMatchObject({ leader: "0", errors: ["etcdserver: no leader"] });
});

test("Alarm lists none, and activating no type does nothing", async () => {
  const cluster = await startOneMember();
  const listed = await alarm(cluster, {});
  expect(listed).toMatchObject({ alarms: [], header: { revision: 1, raftTerm: 7 } });
  expect((await alarm(cluster, { memberID: "7", alarm: 1 })).alarms).toEqual([]);
  expect((await alarm(cluster, { action: 1, alarm: 0 })).alarms).toEqual([]);
});

test("Alarm says that alarms cannot be set or cleared", async () => {
  const cluster = await startOneMember();
  for (const action of [1, 2, 7] as const) {
    const refused = alarm(cluster, { action: action as 1, alarm: 1 });
    await expect(refused).rejects.toMatchObject({ status: grpcStatus.unimplemented });
  }
});

test("Status refuses bytes that are no message", async () => {
  const cluster = await startOneMember();
  const answer = callBytes(cluster, "/etcdserverpb.Maintenance/Status", Uint8Array.of(0x0a));
  await expect(answer).rejects.toThrow(/error unmarshalling request/);
});
