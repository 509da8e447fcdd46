import { expect, test } from "vitest";
import { clusterMethods } from "../../src/api/cluster.ts";
import { RequestError } from "../../src/base/errors.ts";
import { MemberListRequest, MemberListResponse } from "../../src/proto/etcdserverpb/cluster.ts";
import { Command } from "../../src/proto/keelson/command.ts";
import { call, startOneMember } from "./one-member.ts";
import type { OneMemberCluster } from "./one-member.ts";

const codecs = { request: MemberListRequest, response: MemberListResponse };
const memberList = (
  cluster: OneMemberCluster,
  linearizable: boolean,
): Promise<MemberListResponse> =>
  call(cluster, "/etcdserverpb.Cluster/MemberList", codecs, { linearizable });

test("clusterMethods serves the list alone", async () => {
  const { node } = await startOneMember();
  expect(clusterMethods(node).map(([path]) => path)).toEqual(["/etcdserverpb.Cluster/MemberList"]);
});

test("MemberList names a member once it has published itself", async () => {
  const cluster = await startOneMember();
  const id = "10276657743932975437";
  const before = await memberList(cluster, false);
  expect(before.header).toMatchObject({ memberId: id, revision: 0, raftTerm: 7 });
  expect(before.members).toEqual([
    { ID: id, name: "", peerURLs: ["http://a:2380"], clientURLs: [], isLearner: false },
  ]);
  const attributes = { member: id, name: "one", clientUrls: ["http://a:2379"], storeId: "0a" };
  const request = { $case: "memberAttributes" as const, value: attributes };
  await cluster.node.propose(Command.encode({ request, proposal: undefined }).finish());
  const after = await memberList(cluster, false);
  expect(after.members).toMatchObject([{ name: "one", clientURLs: ["http://a:2379"] }]);
});

test("MemberList waits for the barrier when it is linearizable", async () => {
  const cluster = await startOneMember();
  cluster.node.leader = null;
  expect((await memberList(cluster, false)).members).toHaveLength(1);
  await expect(memberList(cluster, true)).rejects.toEqual(RequestError.of("noLeader"));
});
