// Paths of the JSON gateway, one row for each method that has one (as etcd 3.7). A path exists
// when the method is served; RangeStream has none on purpose. `/v3beta/` is the same as `/v3/`.

export interface GatewayRoute {
  /** Full gRPC path. */
  readonly method: string;
  /** The first is the one of today; the rest are spellings that old clients still use. */
  readonly paths: readonly [string, ...string[]];
}

function route(method: string, ...paths: [string, ...string[]]): GatewayRoute {
  return { method: `/etcdserverpb.${method}`, paths };
}

export const gatewayRoutes: readonly GatewayRoute[] = [
  route("KV/Range", "/v3/kv/range"),
  route("KV/Put", "/v3/kv/put"),
  route("KV/DeleteRange", "/v3/kv/deleterange"),
  route("KV/Txn", "/v3/kv/txn"),
  route("KV/Compact", "/v3/kv/compaction"),
  route("Watch/Watch", "/v3/watch"),
  route("Lease/LeaseGrant", "/v3/lease/grant"),
  route("Lease/LeaseRevoke", "/v3/lease/revoke", "/v3/kv/lease/revoke"),
  route("Lease/LeaseKeepAlive", "/v3/lease/keepalive"),
  route("Lease/LeaseTimeToLive", "/v3/lease/timetolive", "/v3/kv/lease/timetolive"),
  route("Lease/LeaseLeases", "/v3/lease/leases", "/v3/kv/lease/leases"),
  route("Cluster/MemberAdd", "/v3/cluster/member/add"),
  route("Cluster/MemberRemove", "/v3/cluster/member/remove"),
  route("Cluster/MemberUpdate", "/v3/cluster/member/update"),
  route("Cluster/MemberList", "/v3/cluster/member/list"),
  route("Cluster/MemberPromote", "/v3/cluster/member/promote"),
  route("Maintenance/Alarm", "/v3/maintenance/alarm"),
  route("Maintenance/Status", "/v3/maintenance/status"),
  route("Maintenance/Defragment", "/v3/maintenance/defragment"),
  route("Maintenance/Hash", "/v3/maintenance/hash"),
  route("Maintenance/HashKV", "/v3/maintenance/hashkv"),
  route("Maintenance/Snapshot", "/v3/maintenance/snapshot"),
  route("Maintenance/MoveLeader", "/v3/maintenance/transfer-leadership"),
  route("Maintenance/Downgrade", "/v3/maintenance/downgrade"),
];
