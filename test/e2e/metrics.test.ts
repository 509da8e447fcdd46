// The page of /metrics of real members: what operators' dashboards and alerts read is there, and
// moves with what the members did.
import { afterAll, beforeAll, expect, test } from "vitest";
import { postJson, ProcessCluster } from "./processes.ts";

let cluster: ProcessCluster;

beforeAll(async () => {
  cluster = await ProcessCluster.start(3);
});

afterAll(() => cluster.close());

/** Sums of the series of each name. */
async function scrape(port: number): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const sums = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, name, value] = /^(\w+)(?:\{.*\})? (\S+)$/.exec(line) ?? [];
    if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}

test("the metrics of a cluster's members move with what was done", async () => {
  const leader = cluster.member(await cluster.leader());
  const key = "a2V5";
  for (let i = 0; i < 5; i++) await postJson(leader.client, "/v3/kv/put", { key, value: "dg==" });
  await postJson(leader.client, "/v3/kv/range", { key });
  await postJson(leader.client, "/v3/kv/deleterange", { key });
  await postJson(leader.client, "/v3/lease/grant", { TTL: "600", ID: "7" });
  await postJson(leader.client, "/v3/lease/revoke", { ID: "7" });
  const page = await scrape(leader.client);
  const exact = {
    etcd_server_has_leader: 1,
    etcd_server_is_leader: 1,
    etcd_server_proposals_pending: 0,
    etcd_server_proposals_failed_total: 0,
    etcd_mvcc_put_total: 5,
    etcd_mvcc_delete_total: 1,
    etcd_debugging_mvcc_keys_total: 0,
    etcd_debugging_lease_granted_total: 1,
    etcd_debugging_lease_revoked_total: 1,
    etcd_debugging_server_lease_expired_total: 0,
    etcd_debugging_mvcc_watcher_total: 0,
    etcd_network_known_peers: 2,
    etcd_network_active_peers: 2,
  };
  expect(Object.fromEntries(Object.keys(exact).map((name) => [name, page.get(name)]))).toEqual(
    exact,
  );
  for (const name of [
    "etcd_disk_wal_fsync_duration_seconds_count",
    "etcd_disk_backend_commit_duration_seconds_count",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_applied_total",
    "etcd_mvcc_range_total",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_client_grpc_received_bytes_total",
    "grpc_server_handled_total",
    "process_resident_memory_bytes",
    "os_fd_used",
  ]) {
    expect(page.get(name), name).toBeGreaterThan(0);
  }
});
