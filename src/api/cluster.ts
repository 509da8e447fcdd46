// The Cluster service: MemberList. Its answers carry no revision, as etcd's. Changes of membership
// are not served: their methods are not in the table, and callers get Unimplemented.
import { MemberListRequest, MemberListResponse } from "../proto/etcdserverpb/cluster.ts";
import type { Member } from "../proto/etcdserverpb/cluster.ts";
import type { MemberRecord } from "../state/members.ts";
import { decodeRequest } from "./call.ts";
import type { Method, UnaryMethod } from "./method.ts";
import { memberListShape } from "./request-shapes.ts";
import type { ServingNode } from "./serving-node.ts";

export function clusterMethods(node: ServingNode): [string, Method][] {
  return [["/etcdserverpb.Cluster/MemberList", memberList(node)]];
}

function memberList(node: ServingNode): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const { message } = decodeRequest(MemberListRequest, memberListShape, bytes);
      if (message.linearizable) await node.barrier(context);
      const members = node.machine.members.list().map(memberOf);
      return MemberListResponse.encode({ header: node.header(0), members }).finish();
    },
  };
}

function memberOf(record: MemberRecord): Member {
  return {
    ID: record.id,
    // The configured name shows once the member has published itself, and so has started.
    name: record.storeId === null ? "" : record.name,
    peerURLs: [...record.peerUrls],
    clientURLs: [...record.clientUrls],
    isLearner: record.isLearner,
  };
}
