// The page of /metrics: etcd's names and labels for what this version can say truthfully, and
// Node's own series. What is not measured is absent, never zero. Gauges are read when somebody
// scrapes; nothing here costs a request more than an addition. Labels are in alphabetical order,
// because tests and dashboards of etcd match whole lines.
import { readFileSync, readdirSync } from "node:fs";
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import { grpcStatus } from "../base/errors.ts";
import type { GrpcStatus } from "../base/errors.ts";
import type { MemberId } from "../base/ids.ts";
import { etcdClusterVersion, etcdVersion } from "../base/version.ts";
import { ClusterDefinition } from "../proto/etcdserverpb/cluster_service.ts";
import { KVDefinition } from "../proto/etcdserverpb/kv_service.ts";
import { LeaseDefinition } from "../proto/etcdserverpb/lease_service.ts";
import { MaintenanceDefinition } from "../proto/etcdserverpb/maintenance_service.ts";
import { WatchDefinition } from "../proto/etcdserverpb/watch_service.ts";
import { HealthDefinition } from "../proto/grpc/health/v1/health_service.ts";
import { CallCounts } from "./call-counts.ts";
import type { NodeCounts } from "./node.ts";

/** What the gauges ask the running node for. */
export interface MetricsSource {
  status(): {
    readonly memberId: MemberId;
    readonly leader: MemberId | null;
    readonly commit: number;
    readonly applied: number;
    readonly revision: number;
    readonly isLearner: boolean;
  };
  counts(): NodeCounts;
  watches(): {
    readonly watchers: number;
    readonly streams: number;
    readonly behind: number;
    readonly eventsSent: number;
  };
  leaderChanges(): number;
  compactRevision(): number;
  keyCount(): number;
  leaseCount(): number;
  storeBytes(): Promise<number>;
  readonly quotaBytes: number;
  /** Bytes of frames by peer. */
  traffic(): readonly {
    readonly peer: MemberId;
    readonly sentBytes: number;
    readonly receivedBytes: number;
  }[];
  clientConnections(): number;
  /** The other members, and those with a live connection now. */
  peers(): readonly MemberId[];
  connectedPeers(): readonly MemberId[];
}

type GrpcType = "unary" | "client_stream" | "server_stream" | "bidi_stream";

interface MethodLabels {
  readonly grpc_method: string;
  readonly grpc_service: string;
  readonly grpc_type: GrpcType;
}

/** Labels by full gRPC path. */
function methodLabels(): ReadonlyMap<string, MethodLabels> {
  const labels = new Map<string, MethodLabels>();
  for (const service of [
    KVDefinition,
    WatchDefinition,
    LeaseDefinition,
    ClusterDefinition,
    MaintenanceDefinition,
    HealthDefinition,
  ]) {
    for (const { name, requestStream, responseStream } of Object.values(service.methods)) {
      const streams: GrpcType = responseStream ? "server_stream" : "unary";
      const withRequests: GrpcType = responseStream ? "bidi_stream" : "client_stream";
      labels.set(`/${service.fullName}/${name}`, {
        grpc_method: name,
        grpc_service: service.fullName,
        grpc_type: requestStream ? withRequests : streams,
      });
    }
  }
  return labels;
}

/** "InvalidArgument" for invalidArgument: the names that Go gives to codes. */
function codeName(status: GrpcStatus): string {
  if (status === grpcStatus.ok) return "OK";
  const name = Object.entries(grpcStatus).find(([, number]) => number === status)?.[0] ?? "unknown";
  return `${name[0]?.toUpperCase()}${name.slice(1)}`;
}

function hexId(id: MemberId): string {
  return BigInt(id).toString(16);
}

function liveBalance({ leasesGranted, leasesRevoked }: NodeCounts): number {
  return leasesGranted - leasesRevoked;
}

/** Upper bounds: `first` and its doublings. */
function doublings(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, power) => first * 2 ** power);
}

export class Metrics {
  /** For the adapters. */
  readonly calls = new CallCounts();
  readonly #registry = new Registry();
  readonly #healthPassed: Counter;
  readonly #healthFailed: Counter;
  readonly #checks: Counter<"name" | "status" | "type">;
  readonly #checkResult: Gauge<"name" | "type">;
  readonly #backendCommit: Histogram;
  readonly #logSync: Histogram;

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    this.#healthPassed = this.#counter("etcd_server_health_success", "/health answers of true");
    this.#healthFailed = this.#counter("etcd_server_health_failures", "/health answers of false");
    const registers = [this.#registry];
    this.#checks = new Counter({
      name: "etcd_server_healthchecks_total",
      help: "Runs of the checks behind /livez and /readyz",
      labelNames: ["name", "status", "type"],
      registers,
    });
    this.#checkResult = new Gauge({
      name: "etcd_server_healthcheck",
      help: "Last result of each check behind /livez and /readyz",
      labelNames: ["name", "type"],
      registers,
    });
    this.#backendCommit = new Histogram({
      name: "etcd_disk_backend_commit_duration_seconds",
      help: "Time to write one batch of the state machine's rows",
      buckets: doublings(0.001, 14),
      registers,
    });
    this.#logSync = new Histogram({
      name: "etcd_disk_wal_fsync_duration_seconds",
      help: "Time to write and sync one batch of the log",
      buckets: doublings(0.001, 14),
      registers,
    });
    this.#registerCalls();
    this.#registerDescriptors();
    this.#constant("etcd_server_version", "server_version", etcdVersion);
    this.#constant("etcd_cluster_version", "cluster_version", etcdClusterVersion);
  }

  /** The text of the page. */
  async page(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  backendCommitted(durationMs: number): void {
    this.#backendCommit.observe(durationMs / 1000);
  }

  logSynced(batchMs: number): void {
    this.#logSync.observe(batchMs / 1000);
  }

  healthAnswered(path: string, check: string | null, passed: boolean): void {
    if (check === null) {
      (passed ? this.#healthPassed : this.#healthFailed).inc();
      return;
    }
    const type = path.slice(1);
    this.#checks.inc({ name: check, status: passed ? "success" : "error", type });
    this.#checkResult.set({ name: check, type }, passed ? 1 : 0);
  }

  /** Adds the series of a running node. */
  observe(source: MetricsSource): void {
    this.#constant("etcd_server_id", "server_id", hexId(source.status().memberId));
    this.#registerNode(source);
    this.#registerStore(source);
    this.#registerOperations(source);
    this.#registerWatches(source);
    this.#registerPeers(source);
    this.#registerTraffic(source);
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read: () => number | Promise<number>): void {
    this.#registry.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        async collect() {
          this.set(await read());
        },
      }),
    );
  }

  /** A counter that is kept elsewhere. */
  #total(name: string, help: string, read: () => number): void {
    this.#registry.registerMetric(
      new Counter({
        name,
        help,
        registers: [],
        collect() {
          this.reset();
          this.inc(read());
        },
      }),
    );
  }

  #constant(name: string, label: string, value: string): void {
    const help = `Always 1; the label says the ${label}`;
    const gauge = new Gauge({ name, help, labelNames: [label], registers: [this.#registry] });
    gauge.set({ [label]: value }, 1);
  }

  #registerNode(source: MetricsSource): void {
    const flag = (fact: boolean) => (fact ? 1 : 0);
    this.#gauge("etcd_server_has_leader", "1 when a leader is known", () =>
      flag(source.status().leader !== null),
    );
    this.#gauge("etcd_server_is_leader", "1 on the leader", () => {
      const { leader, memberId } = source.status();
      return flag(leader === memberId);
    });
    this.#gauge("etcd_server_is_learner", "1 on a learner", () => flag(source.status().isLearner));
    this.#gauge(
      "etcd_server_proposals_committed_total",
      "Commit index",
      () => source.status().commit,
    );
    this.#gauge(
      "etcd_server_proposals_applied_total",
      "Applied index",
      () => source.status().applied,
    );
    this.#gauge(
      "etcd_server_proposals_pending",
      "Proposals of this member's callers without an outcome",
      () => source.counts().proposalsPending,
    );
    this.#total(
      "etcd_server_proposals_failed_total",
      "Proposals that ended without a known outcome",
      () => source.counts().proposalsFailed,
    );
    this.#total(
      "etcd_server_leader_changes_seen_total",
      "Changes of the leader that this member has seen",
      () => source.leaderChanges(),
    );
    this.#gauge("keelson_client_connections", "Open connections on the client listeners", () =>
      source.clientConnections(),
    );
  }

  #registerStore(source: MetricsSource): void {
    this.#gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of the state machine's files", () =>
      source.storeBytes(),
    );
    this.#gauge(
      "etcd_mvcc_db_total_size_in_use_in_bytes",
      "As the size: LevelDB keeps no free pages to give back",
      () => source.storeBytes(),
    );
    this.#gauge(
      "etcd_server_quota_backend_bytes",
      "The quota that Status names; not enforced yet",
      () => source.quotaBytes,
    );
    this.#gauge(
      "etcd_debugging_mvcc_current_revision",
      "Current revision",
      () => source.status().revision,
    );
    this.#gauge("etcd_debugging_mvcc_compact_revision", "Compact revision", () =>
      source.compactRevision(),
    );
    this.#gauge("etcd_debugging_mvcc_keys_total", "Live keys", () => source.keyCount());
    this.#gauge("keelson_leases", "Live leases", () => source.leaseCount());
  }

  #registerOperations(source: MetricsSource): void {
    for (const [name, field, help] of [
      ["etcd_mvcc_put_total", "puts", "Puts applied"],
      ["etcd_mvcc_delete_total", "deletedKeys", "Keys deleted"],
      ["etcd_mvcc_range_total", "ranges", "Ranges read"],
      ["etcd_mvcc_txn_total", "txns", "Transactions of several operations applied"],
      ["etcd_debugging_lease_granted_total", "leasesGranted", "Leases granted"],
      ["etcd_debugging_lease_revoked_total", "leasesRevoked", "Leases revoked by clients"],
      ["etcd_debugging_lease_renewed_total", "leasesRenewed", "Leases renewed while leading"],
    ] as const) {
      this.#total(name, help, () => source.counts()[field]);
    }
    // A lease goes in three ways only: what was neither revoked nor is alive has expired.
    const atStart = source.leaseCount() - liveBalance(source.counts());
    this.#total("etcd_debugging_server_lease_expired_total", "Leases expired", () =>
      Math.max(0, atStart + liveBalance(source.counts()) - source.leaseCount()),
    );
  }

  #registerWatches(source: MetricsSource): void {
    this.#gauge("etcd_debugging_mvcc_watcher_total", "Watchers", () => source.watches().watchers);
    this.#gauge(
      "etcd_debugging_mvcc_watch_stream_total",
      "Watch streams",
      () => source.watches().streams,
    );
    this.#gauge(
      "etcd_debugging_mvcc_slow_watcher_total",
      "Watchers that catch up",
      () => source.watches().behind,
    );
    this.#total(
      "etcd_debugging_mvcc_events_total",
      "Events sent to watchers, each counted for each watcher",
      () => source.watches().eventsSent,
    );
  }

  #registerPeers(source: MetricsSource): void {
    const labelNames = ["Local", "Remote"];
    const local = hexId(source.status().memberId);
    this.#registry.registerMetric(
      new Gauge({
        name: "etcd_network_known_peers",
        help: "Configured peers",
        labelNames,
        registers: [],
        collect() {
          this.reset();
          for (const id of source.peers()) this.set({ Local: local, Remote: hexId(id) }, 1);
        },
      }),
    );
    this.#registry.registerMetric(
      new Gauge({
        name: "etcd_network_active_peers",
        help: "Peers with a live connection",
        labelNames,
        registers: [],
        collect() {
          const connected = new Set(source.connectedPeers());
          for (const id of source.peers()) {
            this.set({ Local: local, Remote: hexId(id) }, connected.has(id) ? 1 : 0);
          }
        },
      }),
    );
  }

  #registerTraffic(source: MetricsSource): void {
    for (const [name, label, field, help] of [
      ["etcd_network_peer_sent_bytes_total", "To", "sentBytes", "Bytes sent to peers"],
      ["etcd_network_peer_received_bytes_total", "From", "receivedBytes", "Bytes from peers"],
    ] as const) {
      this.#registry.registerMetric(
        new Counter({
          name,
          help,
          labelNames: [label],
          registers: [],
          collect() {
            this.reset();
            for (const one of source.traffic()) this.inc({ [label]: hexId(one.peer) }, one[field]);
          },
        }),
      );
    }
  }

  #registerCalls(): void {
    const labels = methodLabels();
    const { calls } = this;
    const labelNames = ["grpc_method", "grpc_service", "grpc_type"];
    for (const [name, field, help] of [
      ["grpc_server_started_total", "started", "Calls started"],
      ["grpc_server_msg_received_total", "received", "Request messages"],
      ["grpc_server_msg_sent_total", "sent", "Response messages"],
    ] as const) {
      this.#registry.registerMetric(
        new Counter({
          name,
          help,
          labelNames,
          registers: [],
          collect() {
            this.reset();
            for (const [path, method] of labels) {
              this.inc({ ...method }, calls.byPath().get(path)?.[field] ?? 0);
            }
          },
        }),
      );
    }
    this.#registry.registerMetric(
      new Counter({
        name: "grpc_server_handled_total",
        help: "Calls ended, by status",
        labelNames: ["grpc_code", ...labelNames],
        registers: [],
        collect() {
          this.reset();
          for (const [path, method] of labels) {
            for (const [status, count] of calls.byPath().get(path)?.handled ?? []) {
              this.inc({ grpc_code: codeName(status), ...method }, count);
            }
          }
        },
      }),
    );
    this.#total("etcd_network_client_grpc_received_bytes_total", "Bytes of requests", () =>
      calls.receivedBytes(),
    );
    this.#total("etcd_network_client_grpc_sent_bytes_total", "Bytes of responses", () =>
      calls.sentBytes(),
    );
  }

  /** Linux only: elsewhere the two series are absent. */
  #registerDescriptors(): void {
    if (process.platform !== "linux") return;
    this.#gauge("os_fd_used", "Open file descriptors", () => readdirSync("/proc/self/fd").length);
    this.#gauge("os_fd_limit", "Limit on open file descriptors", () => {
      const limits = readFileSync("/proc/self/limits", "utf8");
      const [, limit] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
      return Number(limit ?? Number.POSITIVE_INFINITY);
    });
  }
}
