// The process's options: made once from the flags, checked against each other, frozen. Units are
// in the names. The loop's own limits (ticks, bytes, queues) are in node-options.ts.
import { peerLimits } from "../peer/peer-limits.ts";
import type { InitialMember } from "./bootstrap.ts";
import { StartError } from "./start-error.ts";
import type { FlagSet } from "./flag-sources.ts";
import { featureError, urlFault } from "./flag-syntax.ts";

/** A listener: "[::1]" is written "::1" in `host`. */
export interface ListenAddress {
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface ServeOptions {
  readonly name: string;
  readonly dataDir: string;
  readonly listenPeer: readonly ListenAddress[];
  readonly listenClient: readonly ListenAddress[];
  /** When there are any, the client listeners speak gRPC only. */
  readonly listenClientHttp: readonly ListenAddress[];
  readonly listenMetrics: readonly ListenAddress[];
  readonly advertiseClientUrls: readonly string[];
  readonly initialAdvertisePeerUrls: readonly string[];
  readonly initialCluster: readonly InitialMember[];
  readonly initialClusterState: "new" | "existing";
  readonly initialClusterToken: string;
  /** The flags say which cluster this is; else a directory with data does. */
  readonly isInitialClusterGiven: boolean;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly txnOpsMax: number;
  readonly requestBytesMax: number;
  readonly concurrentStreamsMax: number;
  readonly keepaliveMinMs: number;
  /** 0: the server sends no pings. */
  readonly keepaliveIntervalMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly watchProgressMs: number;
  readonly hasGateway: boolean;
  /** "*": any. */
  readonly corsOrigins: readonly string[];
  readonly hostWhitelist: readonly string[];
  readonly logLevel: LogLevel;
  readonly logOutputs: readonly string[];
}

/** As etcd: a listener binds an address, so a name other than localhost is refused. */
function listenAddresses(flags: FlagSet, name: string): ListenAddress[] {
  return flags.list(name).map((url) => {
    const [scheme, rest = ""] = url.split("://");
    if (scheme === "unix" || scheme === "unixs") {
      throw featureError(`--${name}=${url}`, "unix sockets", "listen on http://<address>:<port>");
    }
    if (scheme === "https") {
      throw featureError(`--${name}=${url}`, "TLS", "listen on http://<address>:<port>");
    }
    const host = rest.slice(0, rest.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
    const port = Number(rest.slice(rest.lastIndexOf(":") + 1));
    const isIp = host.includes(":") || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);
    if (!isIp && host !== "localhost") {
      throw new StartError(
        `expected IP in URL for binding (${url}); give --${name} an IP address or localhost`,
      );
    }
    // As Go: the IPv4 loopback, which every client tries; Node would take what the resolver says.
    return { url, host: host === "localhost" ? "127.0.0.1" : host, port };
  });
}

function advertisedUrls(flags: FlagSet, name: string): string[] {
  for (const url of flags.list(name)) {
    if (url.startsWith("https:")) {
      throw featureError(`--${name}=${url}`, "TLS", "advertise http://<address>:<port>");
    }
  }
  return flags.list(name);
}

function initialCluster(flags: FlagSet, name: string): InitialMember[] {
  const text = flags.text("initial-cluster");
  const urlsByName = new Map<string, string[]>();
  for (const part of (text === "" ? `${name}=http://localhost:2380` : text).split(",")) {
    const at = part.indexOf("=");
    const memberName = part.slice(0, at).trim();
    const url = part.slice(at + 1).trim();
    const fault = at <= 0 ? `"${part}" is not name=url` : urlFault(url);
    if (fault !== undefined) {
      throw new StartError(
        `--initial-cluster is malformed: ${fault}; write name=http://<address>:<port>,…`,
      );
    }
    if ([...urlsByName.values()].some((urls) => urls.includes(url))) {
      throw new StartError(`--initial-cluster has ${url} twice; each member has its own peer URL`);
    }
    urlsByName.set(memberName, [...(urlsByName.get(memberName) ?? []), url]);
  }
  return [...urlsByName].map(([memberName, peerUrls]) => ({ name: memberName, peerUrls }));
}

function within(flags: FlagSet, name: string, low: number, high: number): number {
  const value = flags.int(name);
  if (value < low || value > high) {
    throw new StartError(`--${name}=${value} is out of range; give ${low} to ${high}`);
  }
  return value;
}

function atLeast(flags: FlagSet, name: string, lowMs: number): number {
  const valueMs = flags.durationMs(name);
  if (valueMs < lowMs) {
    throw new StartError(`--${name}=${flags.text(name)} is too short; give ${lowMs}ms or more`);
  }
  return valueMs;
}

function checkTiming(heartbeatMs: number, electionMs: number): void {
  if (electionMs < heartbeatMs * 5) {
    throw new StartError(
      `--election-timeout[${electionMs}ms] should be at least as 5 times as ` +
        `--heartbeat-interval[${heartbeatMs}ms]; raise the first or lower the second`,
    );
  }
}

function oneOf<T extends string>(flags: FlagSet, name: string, choices: readonly T[]): T {
  const text = flags.text(name);
  const choice = choices.find((one) => one === text);
  if (choice === undefined) {
    throw new StartError(`--${name}=${text} is unknown; give ${choices.join(" or ")}`);
  }
  return choice;
}

function logLevel(flags: FlagSet): LogLevel {
  const levels = ["debug", "info", "warn", "error", "panic", "fatal"] as const;
  const level = oneOf(flags, "log-level", levels);
  return level === "panic" || level === "fatal" ? "error" : level;
}

/** Checks everything that does not depend on what the data directory holds. */
export function serveOptions(flags: FlagSet): ServeOptions {
  const name = flags.text("name");
  if (name === "") throw new StartError("--name is empty; give this member a name");
  if (flags.isGiven("listen-client-urls") && !flags.isGiven("advertise-client-urls")) {
    throw new StartError(
      "--advertise-client-urls is required when --listen-client-urls is set explicitly; " +
        "give the URLs at which clients reach this member",
    );
  }
  const listenPeer = listenAddresses(flags, "listen-peer-urls");
  const listenClient = listenAddresses(flags, "listen-client-urls");
  if (listenPeer.length === 0) throw new StartError("--listen-peer-urls is empty; give one URL");
  if (listenClient.length === 0)
    throw new StartError("--listen-client-urls is empty; give one URL");
  const heartbeatMs = within(flags, "heartbeat-interval", 1, 10_000);
  const electionMs = within(flags, "election-timeout", 5, 50_000);
  checkTiming(heartbeatMs, electionMs);
  oneOf(flags, "logger", ["zap"]);
  oneOf(flags, "log-format", ["json"]);
  return Object.freeze({
    name,
    dataDir: flags.text("data-dir") || `${name}.etcd`,
    listenPeer,
    listenClient,
    listenClientHttp: listenAddresses(flags, "listen-client-http-urls"),
    listenMetrics: listenAddresses(flags, "listen-metrics-urls"),
    advertiseClientUrls: advertisedUrls(flags, "advertise-client-urls"),
    initialAdvertisePeerUrls: advertisedUrls(flags, "initial-advertise-peer-urls"),
    initialCluster: initialCluster(flags, name),
    initialClusterState: oneOf(flags, "initial-cluster-state", ["new", "existing"]),
    initialClusterToken: flags.text("initial-cluster-token"),
    isInitialClusterGiven:
      flags.isGiven("initial-cluster") || flags.isGiven("initial-cluster-token"),
    heartbeatMs,
    electionMs,
    txnOpsMax: within(flags, "max-txn-ops", 1, 1_000_000),
    requestBytesMax: within(flags, "max-request-bytes", 1, peerLimits.commandBytesMax),
    concurrentStreamsMax: within(flags, "max-concurrent-streams", 1, 4_294_967_295),
    keepaliveMinMs: atLeast(flags, "grpc-keepalive-min-time", 0),
    keepaliveIntervalMs: atLeast(flags, "grpc-keepalive-interval", 0),
    keepaliveTimeoutMs: atLeast(flags, "grpc-keepalive-timeout", 1),
    watchProgressMs: atLeast(flags, "watch-progress-notify-interval", 100),
    hasGateway: flags.bool("enable-grpc-gateway"),
    corsOrigins: flags.list("cors"),
    hostWhitelist: flags.list("host-whitelist"),
    logLevel: logLevel(flags),
    logOutputs: flags.list("log-outputs"),
  });
}

/**
 * What must hold when the data directory holds no member yet. On a restart the initial-* flags
 * are ignored, so this is not asked then.
 */
export function checkFirstStart(options: ServeOptions): void {
  if (options.initialClusterState === "existing") {
    throw featureError(
      `--initial-cluster-state=existing with the empty data directory ${options.dataDir}`,
      "membership changes",
      "start all members of a new cluster with --initial-cluster-state=new",
    );
  }
  const own = options.initialCluster.find((member) => member.name === options.name);
  if (own === undefined) {
    throw new StartError(
      `couldn't find local name "${options.name}" in the initial cluster configuration; ` +
        `add ${options.name}=<peer-url> to --initial-cluster or correct --name`,
    );
  }
  const advertised = options.initialAdvertisePeerUrls.toSorted().join(",");
  const listed = own.peerUrls.toSorted().join(",");
  if (advertised !== listed) {
    throw new StartError(
      `--initial-cluster has ${options.name}=${listed} but --initial-advertise-peer-urls ` +
        `is ${advertised}; make them equal`,
    );
  }
}
