// Every flag of the etcd 3.7 server as one table: a row per flag with its type, its default and
// what it does here. Three kinds of row: it has an effect; it belongs to a feature that this
// version does not have (any value but the default stops the start and names the feature, so that
// nobody runs with a guard they believe in and do not have); or it is taken and changes nothing,
// with the reason. What a value means is in options.ts, how values are found in flag-sources.ts.

export type FlagType = "bool" | "int" | "duration" | "string" | "list" | "urls";

export type FlagUse =
  | { readonly kind: "effect"; readonly text: string }
  | { readonly kind: "feature"; readonly feature: string }
  | { readonly kind: "inert"; readonly reason: string };

export interface FlagRow {
  readonly name: string;
  readonly type: FlagType;
  /** As it would be written on the command line. */
  readonly fallback: string;
  readonly use: FlagUse;
}

function effect(name: string, type: FlagType, fallback: string, text: string): FlagRow {
  return { name, type, fallback, use: { kind: "effect", text } };
}

function later(feature: string, name: string, type: FlagType, fallback: string): FlagRow {
  return { name, type, fallback, use: { kind: "feature", feature } };
}

function inert(name: string, type: FlagType, fallback: string, reason: string): FlagRow {
  return { name, type, fallback, use: { kind: "inert", reason } };
}

export const flagRows: readonly FlagRow[] = [
  effect("name", "string", "default", "this member's name; must occur in --initial-cluster"),
  effect("data-dir", "string", "", "data directory; default <name>.etcd"),
  effect("config-file", "string", "", "YAML or JSON file with these flags; others are ignored"),
  effect("version", "bool", "false", "print the version and exit"),
  effect("help", "bool", "false", "print this text and exit"),
  effect("heartbeat-interval", "int", "100", "milliseconds between a leader's heartbeats"),
  effect("election-timeout", "int", "1000", "milliseconds without a leader before an election"),
  effect("listen-peer-urls", "urls", "http://localhost:2380", "where other members connect"),
  effect("listen-client-urls", "urls", "http://localhost:2379", "where clients connect"),
  effect(
    "listen-client-http-urls",
    "urls",
    "",
    "HTTP-only listeners; then the others are gRPC only",
  ),
  effect("listen-metrics-urls", "urls", "", "extra listeners for metrics and health"),
  effect("advertise-client-urls", "urls", "http://localhost:2379", "URLs that clients are told"),
  effect(
    "initial-advertise-peer-urls",
    "urls",
    "http://localhost:2380",
    "this member's peer URLs, as the others are told at the first start",
  ),
  effect("initial-cluster", "string", "", "members at the first start: name=peer-url,…"),
  effect("initial-cluster-state", "string", "new", "new, or existing for a directory with data"),
  effect("initial-cluster-token", "string", "etcd-cluster", "tells clusters apart in their ids"),
  effect("max-txn-ops", "int", "128", "operations in one transaction"),
  effect("max-request-bytes", "int", "1572864", "bytes of one request"),
  effect("max-concurrent-streams", "int", "4294967295", "HTTP/2 streams of one connection"),
  effect("grpc-keepalive-min-time", "duration", "5s", "shortest time between a client's pings"),
  effect("grpc-keepalive-interval", "duration", "2h", "pings to idle clients; 0: none"),
  effect("grpc-keepalive-timeout", "duration", "20s", "wait for the answer to a ping"),
  effect("watch-progress-notify-interval", "duration", "10m", "progress notes on idle watches"),
  effect("enable-grpc-gateway", "bool", "true", "serve JSON over HTTP under /v3"),
  effect("cors", "list", "*", "origins that browsers may call from"),
  effect("host-whitelist", "list", "*", "Host headers that are answered"),
  effect("greeting", "bool", "false", "print URLs and commands to try; always on a terminal"),
  effect("logger", "string", "zap", "only zap, whose JSON lines are the ones written"),
  effect("log-level", "string", "info", "debug, info, warn, error, panic or fatal"),
  effect("log-format", "string", "json", "only json"),
  effect("log-outputs", "list", "default", "default or stderr, stdout, or file paths"),

  inert("initial-election-tick-advance", "bool", "true", "a start never waits longer than needed"),
  inert("backend-batch-interval", "duration", "0s", "state goes to disk once a turn"),
  inert("backend-batch-limit", "int", "0", "state goes to disk once a turn"),
  inert("backend-bbolt-freelist-type", "string", "map", "there is no bbolt file"),
  inert("compaction-batch-limit", "int", "1000", "compaction is paced by its own load"),
  inert("compaction-sleep-interval", "duration", "10ms", "compaction is paced by its own load"),
  inert("raft-read-timeout", "duration", "5s", "peer streams have keepalives"),
  inert("raft-write-timeout", "duration", "5s", "peer streams have keepalives"),
  inert("socket-reuse-address", "bool", "false", "the address is always reusable"),
  inert("warning-apply-duration", "duration", "100ms", "slow work is seen in the metrics"),
  inert("warning-unary-request-duration", "duration", "300ms", "slow work is seen in the metrics"),
  inert("v2-deprecation", "string", "write-only-drop-data", "there is no v2 store"),
  inert("max-snapshots", "int", "5", "there are no v2 snapshot files"),
  inert(
    "experimental-txn-mode-write-with-shared-buffer",
    "bool",
    "true",
    "there is no such buffer",
  ),

  later("turning pre-vote off", "pre-vote", "bool", "true"),
  later("shared ports", "socket-reuse-port", "bool", "false"),
  later("running without sync", "unsafe-no-fsync", "bool", "false"),
  later("memory locking", "memory-mlock", "bool", "false"),

  later("a log directory of its own", "wal-dir", "string", ""),
  later("log snapshots", "snapshot-count", "int", "10000"),
  later("log snapshots", "snapshot-catchup-entries", "int", "5000"),
  later("log snapshots", "max-wals", "int", "5"),

  later("membership changes", "strict-reconfig-check", "bool", "true"),
  later("membership changes", "max-learners", "int", "1"),
  later("disaster recovery", "force-new-cluster", "bool", "false"),

  later("size quota", "quota-backend-bytes", "int", "0"),
  later("automatic compaction", "auto-compaction-mode", "string", "periodic"),
  later("automatic compaction", "auto-compaction-retention", "string", "0"),
  later("defragmentation", "bootstrap-defrag-threshold-megabytes", "int", "0"),
  later("corruption checks", "corrupt-check-time", "duration", "0s"),
  later("corruption checks", "compact-hash-check-time", "duration", "1m"),
  later("corruption checks", "experimental-initial-corrupt-check", "bool", "false"),
  later("corruption checks", "experimental-compact-hash-check-enabled", "bool", "false"),
  later("defragmentation", "experimental-stop-grpc-service-on-defrag", "bool", "false"),
  later("lease checkpoints", "experimental-enable-lease-checkpoint", "bool", "false"),
  later("lease checkpoints", "experimental-enable-lease-checkpoint-persist", "bool", "false"),
  later("feature gates", "feature-gates", "string", ""),
  later("downgrades", "downgrade-check-time", "duration", "5s"),

  later("discovery", "discovery", "string", ""),
  later("discovery", "discovery-proxy", "string", ""),
  later("discovery", "discovery-token", "string", ""),
  later("discovery", "discovery-endpoints", "list", ""),
  later("discovery", "discovery-dial-timeout", "duration", "2s"),
  later("discovery", "discovery-request-timeout", "duration", "5s"),
  later("discovery", "discovery-keepalive-time", "duration", "2s"),
  later("discovery", "discovery-keepalive-timeout", "duration", "6s"),
  later("discovery", "discovery-insecure-transport", "bool", "true"),
  later("discovery", "discovery-insecure-skip-tls-verify", "bool", "false"),
  later("discovery", "discovery-cert", "string", ""),
  later("discovery", "discovery-key", "string", ""),
  later("discovery", "discovery-cacert", "string", ""),
  later("discovery", "discovery-user", "string", ""),
  later("discovery", "discovery-password", "string", ""),
  later("discovery", "discovery-srv", "string", ""),
  later("discovery", "discovery-srv-name", "string", ""),
  later("discovery", "discovery-fallback", "string", "exit"),

  later("TLS", "cert-file", "string", ""),
  later("TLS", "key-file", "string", ""),
  later("TLS", "trusted-ca-file", "string", ""),
  later("TLS", "client-cert-auth", "bool", "false"),
  later("TLS", "client-crl-file", "string", ""),
  later("TLS", "client-cert-allowed-hostname", "string", ""),
  later("TLS", "client-cert-file", "string", ""),
  later("TLS", "client-key-file", "string", ""),
  later("TLS", "auto-tls", "bool", "false"),
  later("TLS", "peer-cert-file", "string", ""),
  later("TLS", "peer-key-file", "string", ""),
  later("TLS", "peer-trusted-ca-file", "string", ""),
  later("TLS", "peer-client-cert-auth", "bool", "false"),
  later("TLS", "peer-crl-file", "string", ""),
  later("TLS", "peer-cert-allowed-cn", "string", ""),
  later("TLS", "peer-cert-allowed-hostname", "string", ""),
  later("TLS", "peer-client-cert-file", "string", ""),
  later("TLS", "peer-client-key-file", "string", ""),
  later("TLS", "peer-auto-tls", "bool", "false"),
  later("TLS", "peer-skip-client-san-verification", "bool", "false"),
  later("TLS", "self-signed-cert-validity", "int", "1"),
  later("TLS", "cipher-suites", "list", ""),
  later("TLS", "tls-min-version", "string", "TLS1.2"),
  later("TLS", "tls-max-version", "string", ""),

  later("users and roles", "auth-token", "string", "simple"),
  later("users and roles", "auth-token-ttl", "int", "300"),
  later("users and roles", "bcrypt-cost", "int", "10"),

  later("request histograms", "metrics", "string", "basic"),
  later("profiling", "enable-pprof", "bool", "false"),
  later("tracing", "enable-distributed-tracing", "bool", "false"),
  later("tracing", "distributed-tracing-address", "string", "localhost:4317"),
  later("tracing", "distributed-tracing-service-name", "string", "etcd"),
  later("tracing", "distributed-tracing-instance-id", "string", ""),
  later("tracing", "distributed-tracing-sampling-rate", "int", "0"),
  later("log rotation", "enable-log-rotation", "bool", "false"),
  later(
    "log rotation",
    "log-rotation-config-json",
    "string",
    '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}',
  ),
];

export const flagByName: ReadonlyMap<string, FlagRow> = new Map(
  flagRows.map((row) => [row.name, row]),
);

/** Spellings that etcd 3.7 dropped, still taken with a warning: old name to new name. */
export const flagRenames: ReadonlyMap<string, string> = new Map(
  [
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "corrupt-check-time",
    "distributed-tracing-address",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "distributed-tracing-service-name",
    "downgrade-check-time",
    "enable-distributed-tracing",
    "max-learners",
    "memory-mlock",
    "peer-skip-client-san-verification",
    "snapshot-catchup-entries",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "watch-progress-notify-interval",
  ].map((name) => [`experimental-${name}`, name]),
);

/** `ETCD_LISTEN_CLIENT_URLS` and `KEELSON_LISTEN_CLIENT_URLS` for `listen-client-urls`. */
export function flagVariable(prefix: "ETCD" | "KEELSON", name: string): string {
  return `${prefix}_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** The text of `keelson serve --help`. */
export function flagsHelp(): string {
  const lines = ["Usage: keelson serve [flags]", "", "Flags:"];
  for (const row of flagRows) {
    if (row.use.kind !== "effect") continue;
    const fallback = row.fallback === "" ? "" : ` (default ${row.fallback})`;
    lines.push(`  --${row.name}`, `        ${row.use.text}${fallback}`);
  }
  lines.push("", "Taken from etcd, without effect here:");
  for (const row of flagRows) {
    if (row.use.kind === "inert") lines.push(`  --${row.name}: ${row.use.reason}`);
  }
  lines.push("", "Taken from etcd, of features to come (only their defaults are accepted):");
  for (const row of flagRows) {
    if (row.use.kind === "feature") lines.push(`  --${row.name}: ${row.use.feature}`);
  }
  lines.push(
    "",
    "Each flag is also read from ETCD_<NAME> or KEELSON_<NAME> in the environment.",
    "",
  );
  return lines.join("\n");
}
