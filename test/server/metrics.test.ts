import { describe, expect, test } from "vitest";
import { grpcStatus } from "../../src/base/errors.ts";
import type { MemberId } from "../../src/base/ids.ts";
import type { MetricsSource } from "../../src/server/metrics.ts";
import { Metrics } from "../../src/server/metrics.ts";

const self = "10276657743932975437" as MemberId;
const peer = "255" as MemberId;

const source: MetricsSource = {
  status: () => ({
    memberId: self,
    leader: self,
    commit: 7,
    applied: 6,
    revision: 3,
    isLearner: false,
  }),
  counts: () => ({
    puts: 9,
    deletedKeys: 1,
    ranges: 8,
    txns: 2,
    leasesGranted: 3,
    leasesRevoked: 1,
    proposalsPending: 4,
    proposalsFailed: 5,
    leasesRenewed: 7,
  }),
  watches: () => ({ watchers: 6, streams: 2, behind: 1, eventsSent: 12 }),
  traffic: () => [{ peer, sentBytes: 70, receivedBytes: 80 }],
  quotaBytes: 2048,
  leaderChanges: () => 2,
  compactRevision: () => -1,
  keyCount: () => 4,
  leaseCount: () => 1,
  storeBytes: async () => 4096,
  clientConnections: () => 5,
  peers: () => [peer],
  connectedPeers: () => [],
};

async function lines(metrics: Metrics): Promise<string[]> {
  return (await metrics.page()).text.split("\n");
}

describe("Metrics", () => {
  test("counts calls by etcd's names with labels in alphabetical order", async () => {
    const metrics = new Metrics();
    const { calls } = metrics;
    calls.started("/etcdserverpb.Watch/Watch");
    calls.finished("/etcdserverpb.Watch/Watch", grpcStatus.canceled);
    for (let i = 0; i < 2; i++) {
      calls.started("/etcdserverpb.KV/Put");
      calls.received("/etcdserverpb.KV/Put", 10);
      calls.sent("/etcdserverpb.KV/Put", 3);
      calls.finished("/etcdserverpb.KV/Put", grpcStatus.ok);
    }
    const put = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"';
    expect(await lines(metrics)).toEqual(
      expect.arrayContaining([
        `grpc_server_started_total{${put}} 2`,
        `grpc_server_msg_received_total{${put}} 2`,
        `grpc_server_msg_sent_total{${put}} 2`,
        `grpc_server_handled_total{grpc_code="OK",${put}} 2`,
        'grpc_server_handled_total{grpc_code="Canceled",grpc_method="Watch",' +
          'grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1',
        "etcd_network_client_grpc_received_bytes_total 20",
        "etcd_network_client_grpc_sent_bytes_total 6",
      ]),
    );
    // A second scrape adds nothing.
    expect(await lines(metrics)).toContain(`grpc_server_started_total{${put}} 2`);
  });

  test("reads the node when it is scraped", async () => {
    const metrics = new Metrics();
    metrics.observe(source);
    expect(await lines(metrics)).toEqual(
      expect.arrayContaining([
        "etcd_server_has_leader 1",
        "etcd_server_is_leader 1",
        "etcd_server_is_learner 0",
        "etcd_server_leader_changes_seen_total 2",
        "etcd_server_proposals_committed_total 7",
        "etcd_server_proposals_applied_total 6",
        "etcd_server_proposals_pending 4",
        "etcd_server_proposals_failed_total 5",
        "etcd_mvcc_db_total_size_in_bytes 4096",
        "etcd_mvcc_db_total_size_in_use_in_bytes 4096",
        "etcd_server_quota_backend_bytes 2048",
        "etcd_mvcc_put_total 9",
        "etcd_mvcc_delete_total 1",
        "etcd_mvcc_range_total 8",
        "etcd_mvcc_txn_total 2",
        "etcd_debugging_lease_granted_total 3",
        "etcd_debugging_lease_revoked_total 1",
        "etcd_debugging_lease_renewed_total 7",
        "etcd_debugging_mvcc_events_total 12",
        "etcd_debugging_mvcc_watcher_total 6",
        "etcd_debugging_mvcc_watch_stream_total 2",
        "etcd_debugging_mvcc_slow_watcher_total 1",
        'etcd_network_peer_sent_bytes_total{To="ff"} 70',
        'etcd_network_peer_received_bytes_total{From="ff"} 80',
        "etcd_debugging_mvcc_keys_total 4",
        'etcd_server_id{server_id="8e9e05c52164694d"} 1',
        'etcd_server_version{server_version="3.7.1"} 1',
        'etcd_network_known_peers{Local="8e9e05c52164694d",Remote="ff"} 1',
        'etcd_network_active_peers{Local="8e9e05c52164694d",Remote="ff"} 0',
      ]),
    );
  });

  test("takes for expired what was neither revoked nor is alive", async () => {
    const metrics = new Metrics();
    let counts = { ...source.counts(), leasesGranted: 0, leasesRevoked: 0 };
    let live = 2;
    metrics.observe({ ...source, counts: () => counts, leaseCount: () => live });
    expect(await lines(metrics)).toContain("etcd_debugging_server_lease_expired_total 0");
    counts = { ...counts, leasesGranted: 5, leasesRevoked: 1 };
    live = 3;
    expect(await lines(metrics)).toContain("etcd_debugging_server_lease_expired_total 3");
  });

  test("counts probes and times batches of the log and of the store", async () => {
    const metrics = new Metrics();
    metrics.healthAnswered("/health", null, true);
    metrics.healthAnswered("/health", null, false);
    metrics.healthAnswered("/readyz", "linearizable_read", false);
    metrics.backendCommitted(3);
    metrics.logSynced(1);
    const check = 'name="linearizable_read"';
    expect(await lines(metrics)).toEqual(
      expect.arrayContaining([
        "etcd_server_health_success 1",
        "etcd_server_health_failures 1",
        `etcd_server_healthchecks_total{${check},status="error",type="readyz"} 1`,
        `etcd_server_healthcheck{${check},type="readyz"} 0`,
        'etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 1',
        "etcd_disk_wal_fsync_duration_seconds_count 1",
        'etcd_disk_backend_commit_duration_seconds_bucket{le="0.002"} 0',
        'etcd_disk_backend_commit_duration_seconds_bucket{le="0.004"} 1',
      ]),
    );
  });
});
