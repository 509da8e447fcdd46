#!/usr/bin/env node
// The `keelson` command and the composition root: the only place of the product that constructs
// and connects the rooms. Parses, constructs, starts, stops; decides nothing else.
//
//   starting --everything is open--> serving --SIGTERM, SIGINT--> draining --> exit 0
//      |-- refused: one line that says what to do, exit 1 (2: the command line)
//   any state --a broken invariant, a dead disk, a stray exception--> exit 1, the log decides
//
// Stopping goes from the edge inwards: no new connections, calls under way end, the node hands its
// work over or finishes it, then log and store are closed. A second signal ends it at once.
import { randomInt, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { pino } from "pino";
import { dbQuotaBytesDefault, leaseTtlSecondsMin } from "./api/api-options.ts";
import type { MethodTable } from "./api/method.ts";
import { serviceTable } from "./api/services.ts";
import { assert } from "./base/assert.ts";
import type { Clock } from "./base/clock.ts";
import type { MemberId } from "./base/ids.ts";
import type { LogFields, Logger } from "./base/logger.ts";
import { Prng } from "./base/prng.ts";
import { keelsonVersion } from "./base/version.ts";
import { greetingText, usageText, versionText } from "./cli/serve.ts";
import { runWal } from "./cli/wal.ts";
import { GrpcServer } from "./grpc/grpc-server.ts";
import { healthMethods } from "./grpc/health.ts";
import type { GrpcLimits } from "./grpc/limits.ts";
import { defaultGrpcLimits } from "./grpc/limits.ts";
import { Gateway } from "./http/gateway.ts";
import type { HttpApp, HttpCollaborators } from "./http/http-server.ts";
import { defaultHttpOptions, openHttpApp } from "./http/http-server.ts";
import { Listener, defaultListenerLimits } from "./http/listener.ts";
import { bodyLimitsFor } from "./http/request-body.ts";
import { TcpTransport } from "./peer/tcp-transport.ts";
import { Raft } from "./raft/raft.ts";
import { initialCluster } from "./server/bootstrap.ts";
import { readFlags } from "./server/flag-sources.ts";
import { flagsHelp } from "./server/flags.ts";
import { chooseInitialMembers, writeInitialMembers } from "./server/initial-members.ts";
import { HealthProbe } from "./server/health-probe.ts";
import { knownStores } from "./server/known-stores.ts";
import { metricsSource } from "./server/metrics-source.ts";
import { Metrics } from "./server/metrics.ts";
import { MemberRefused } from "./server/members.ts";
import { Node } from "./server/node.ts";
import type { NodeOptions } from "./server/node-options.ts";
import { nodeOptions, raftConfig } from "./server/node-options.ts";
import { openOrRebuild } from "./server/open-state.ts";
import type { ListenAddress, ServeOptions } from "./server/options.ts";
import { serveOptions } from "./server/options.ts";
import { realClock } from "./server/real-clock.ts";
import { refuseForeignState, restoreRaft } from "./server/restore-raft.ts";
import { ServingWatch } from "./server/serving-watch.ts";
import { StartError, listenError } from "./server/start-error.ts";
import { timedPlace } from "./server/timed-backend.ts";
import { WatchHistory } from "./server/watch-history.ts";
import { WatchHub, watchHubDefaults } from "./server/watch-hub.ts";
import { restoreMachine } from "./state/machine.ts";
import type { CheckedStore } from "./store/checked-store.ts";
import { LeveldbPlace } from "./store/leveldb-backend.ts";
import { WalError } from "./wal/wal-error.ts";
import { openWal } from "./wal/wal.ts";

/** Of a stop: how long calls under way may take, and the whole of it. */
const callGraceMs = 1_000;
const stopMsMax = 10_000;

/** What runs below the edges. */
interface Member {
  readonly node: Node;
  readonly store: CheckedStore;
  readonly transport: TcpTransport;
  /** Of the other members. */
  readonly peers: readonly MemberId[];
}

interface Process {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fatal: (error: unknown) => never;
}

function openLogger(level: string, outputs: readonly string[]): Logger {
  const destinations = { default: 2, stderr: 2, stdout: 1 } as const;
  const streams = outputs.map((output) => ({
    level,
    // Written at once: what is said last before an exit counts most.
    stream: pino.destination({
      dest: output in destinations ? destinations[output as keyof typeof destinations] : output,
      sync: true,
    }),
  }));
  const log = pino(
    {
      level,
      base: null,
      messageKey: "msg",
      timestamp: () => `,"ts":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.multistream(streams),
  );
  const write = (level: keyof Logger) => (fields: LogFields, message: string) => {
    if (log.isLevelEnabled(level))
      log[level]({ caller: callerOf(new Error()), ...fields }, message);
  };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
  };
}

/** Who wrote a line, as etcd says it: folder, file and line. The error is made one call below. */
function callerOf({ stack = "" }: Error): string {
  const [, , caller = ""] = stack.split("\n");
  return /([^/]+\/[^/]+:\d+):\d+\)?$/.exec(caller)?.[1] ?? "unknown";
}

async function openMember(
  options: ServeOptions,
  limits: NodeOptions,
  metrics: Metrics,
  { clock, logger, fatal }: Process,
): Promise<Member> {
  const directory = join(options.dataDir, "member");
  const initial = chooseInitialMembers(options, directory);
  const { clusterId, members, configuration } = initialCluster(initial.members, initial.token);
  const own = members.find(({ name }) => name === initial.name);
  assert(own !== undefined, "chosen members without this one");
  const create = { cluster: clusterId, member: own.id, configuration };
  const synced = (batchMs: number) => metrics.logSynced(batchMs);
  const log = await openWal({ directory, create, clock, logger, fatal, synced });
  writeInitialMembers(directory, initial);
  const place = timedPlace(new LeveldbPlace(join(directory, "state")), clock, (durationMs) =>
    metrics.backendCommitted(durationMs),
  );
  const opening = await openOrRebuild({ place, logger });
  if (opening.type === "newerFormat") {
    throw new StartError(
      `${directory}/state has format ${opening.version}, which this version does not know; ` +
        "start the version that wrote it",
    );
  }
  const { store, mvcc } = opening.state;
  await refuseForeignState(log, store.applied, directory);
  const machine = restoreMachine(opening.state, members);
  const { identity } = log.recovered;
  const restored = await restoreRaft(log, store.applied.index);
  const raft = new Raft(raftConfig(limits, identity), restored);
  const peers = members.filter(({ id }) => id !== own.id);
  const peerUrls = options.listenPeer.map(({ url }) => url);
  const transport = await TcpTransport.open(
    {
      self: { ...identity, run: randomUUID(), electionMs: options.electionMs },
      peers,
      replicatedStore: knownStores(machine.members, restored.tail),
      clock,
      prng: new Prng(limits.seed, 2),
      logger,
    },
    peerUrls,
  ).catch((error: unknown) => {
    throw listenError(`--listen-peer-urls=${peerUrls.join(",")}`, error);
  });
  const watchHub = new WatchHub(
    {
      history: new WatchHistory({ reader: mvcc, store }),
      header: {
        clusterId: identity.cluster,
        memberId: identity.member,
        term: () => raft.status().term,
      },
      clock,
      seed: limits.seed,
    },
    {
      ...watchHubDefaults,
      fragmentBytes: options.requestBytesMax,
      progressNotifyMs: options.watchProgressMs,
    },
  );
  const node = new Node(
    { raft, log, transport, machine, store, watchHub, clock, logger, fatal },
    limits,
  );
  return { node, store, transport, peers: peers.map(({ id }) => id) };
}

function grpcLimits(options: ServeOptions): GrpcLimits {
  const unlimited = 2 ** 32 - 1;
  const streamsMax = options.concurrentStreamsMax;
  return {
    ...defaultGrpcLimits,
    messageBytesMax: options.requestBytesMax + 512 * 1024,
    streamsPerConnectionMax:
      streamsMax === unlimited ? defaultGrpcLimits.streamsPerConnectionMax : streamsMax,
    pingIntervalMsMin: options.keepaliveMinMs,
    // Timers end at 2^31 ms: none within 24 days is none.
    keepaliveIntervalMs: options.keepaliveIntervalMs || 2 ** 31 - 1,
    keepaliveTimeoutMs: options.keepaliveTimeoutMs,
  };
}

function methodTable(
  { node, store }: Member,
  serving: ServingWatch,
  options: ServeOptions,
  seed: number,
): MethodTable {
  const services = serviceTable(
    { node, clock: realClock, random: new Prng(seed, 3), dbBytes: () => store.diskBytes() },
    {
      txnOpsMax: options.txnOpsMax,
      requestBytesMax: options.requestBytesMax,
      leaseTtlSecondsMin: leaseTtlSecondsMin(options.electionMs),
      electionMs: options.electionMs,
      dbQuotaBytes: dbQuotaBytesDefault,
    },
  );
  return new Map([...services, ...healthMethods(serving)]);
}

/** The listeners and what stands behind them. */
interface Edge {
  readonly listeners: readonly Listener[];
  readonly http: readonly HttpApp[];
  readonly grpcServer: GrpcServer;
  readonly gateway: Gateway | null;
}

async function openEdge(
  options: ServeOptions,
  collaborators: HttpCollaborators,
  grpcServer: GrpcServer,
  clock: Clock,
): Promise<Edge> {
  const { corsOrigins, hostWhitelist } = options;
  const httpOptions = { ...defaultHttpOptions, corsOrigins, hostWhitelist };
  const client = await openHttpApp(collaborators, httpOptions);
  const metrics = await openHttpApp(collaborators, { ...httpOptions, surface: "metrics" });
  const listeners: Listener[] = [];
  const listen = async (
    flag: string,
    addresses: readonly ListenAddress[],
    served: { http: HttpApp | null; http2: GrpcServer | null },
  ) => {
    for (const { url, host, port } of addresses) {
      const { logger } = collaborators;
      const http = served.http?.server ?? null;
      const listener = new Listener({ ...served, http, clock, logger }, defaultListenerLimits);
      try {
        await listener.listen(host, port);
      } catch (error) {
        throw listenError(`--${flag}=${url}`, error);
      }
      logger.info({ url }, "listening");
      listeners.push(listener);
    }
  };
  const hasHttpPort = options.listenClientHttp.length > 0;
  await listen("listen-client-urls", options.listenClient, {
    http: hasHttpPort ? null : client,
    http2: grpcServer,
  });
  await listen("listen-client-http-urls", options.listenClientHttp, {
    http: client,
    http2: null,
  });
  await listen("listen-metrics-urls", options.listenMetrics, { http: metrics, http2: null });
  return { listeners, http: [client, metrics], grpcServer, gateway: collaborators.gateway };
}

async function stopAll(
  { listeners, http, grpcServer, gateway }: Edge,
  { node, store }: Member,
  serving: ServingWatch,
): Promise<void> {
  serving.stopServing();
  for (const listener of listeners) listener.stopAccepting();
  for (const { server } of http) server.closeIdleConnections();
  gateway?.close();
  await grpcServer.close(callGraceMs);
  await node.stop();
  node.watchHub.stop();
  await store.close();
  for (const listener of listeners) listener.destroyConnections();
  for (const { app } of http) await app.close();
  serving.stop();
}

async function serve(
  options: ServeOptions,
  hasGreeting: boolean,
  process_: Process,
): Promise<void> {
  const { clock, logger, fatal } = process_;
  const seed = randomInt(2 ** 32);
  const metrics = new Metrics();
  const limits = nodeOptions({
    name: options.name,
    clientUrls: options.advertiseClientUrls,
    heartbeatMs: options.heartbeatMs,
    electionMs: options.electionMs,
    requestBytesMax: options.requestBytesMax,
    seed,
  });
  const member = await openMember(options, limits, metrics, process_);
  const { node } = member;
  const serving = new ServingWatch(() => node.status().leader, clock);
  const methods = methodTable(member, serving, options, seed);
  const grpcServer = new GrpcServer(
    { methods, clock, logger, observer: metrics.calls, fatal },
    grpcLimits(options),
  );
  const gateway = new Gateway(
    { methods, clock, logger, observer: metrics.calls, fatal },
    bodyLimitsFor(options.requestBytesMax),
  );
  const health = {
    source: new HealthProbe(node),
    observe: (path: string, check: string | null, passed: boolean) =>
      metrics.healthAnswered(path, check, passed),
  };
  const edge = await openEdge(
    options,
    {
      health,
      metrics: () => metrics.page(),
      gateway: options.hasGateway ? gateway : null,
      logger,
      fatal,
    },
    grpcServer,
    clock,
  );
  const { listeners } = edge;
  const parts = { ...member, serving, listeners, quotaBytes: dbQuotaBytesDefault };
  metrics.observe(metricsSource(parts));
  onStopSignal(logger, () => stopAll(edge, member, serving));
  node.start();
  serving.start();
  const forever = new AbortController().signal;
  while (!serving.serving()) await serving.changed(forever);
  logger.info({ name: options.name }, "ready to serve client requests");
  if (!hasGreeting) return;
  process.stdout.write(
    greetingText({
      name: options.name,
      dataDir: options.dataDir,
      clientUrls: options.advertiseClientUrls,
      peerUrls: options.initialAdvertisePeerUrls,
    }),
  );
}

function onStopSignal(logger: Logger, stop: () => Promise<void>): void {
  let isStopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(1);
    isStopping = true;
    logger.info({ signal }, "stopping");
    setTimeout(() => process.exit(1), stopMsMax).unref();
    void stop().then(() => {
      logger.info({}, "stopped");
      process.exit(0);
    });
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}

async function runServe(args: readonly string[]): Promise<void> {
  const flags = readFlags(args, process.env, (path) => readFileSync(path, "utf8"));
  if (flags.bool("help") || flags.bool("version")) {
    process.stdout.write(flags.bool("help") ? flagsHelp() : versionText(process));
    return;
  }
  const options = serveOptions(flags);
  // V8 would let the heap grow fourfold between two full collections.
  setFlagsFromString("--heap-growing-percent=50");
  // Nobody but this user reads what is in the store (as etcd).
  process.umask(0o077);
  const logger = openLogger(options.logLevel, options.logOutputs);
  const fatal = (error: unknown): never => {
    const isPlain = error instanceof MemberRefused || error instanceof StartError;
    const detail = error instanceof Error && !isPlain ? error.stack : String(error);
    logger.error({ error: detail }, "the process must end");
    process.exit(1);
  };
  process.on("uncaughtException", fatal);
  process.on("unhandledRejection", fatal);
  for (const warning of flags.warnings) logger.warn({}, warning);
  logger.info({ version: keelsonVersion, ...options }, "starting");
  const hasGreeting = flags.bool("greeting") || process.stdout.isTTY;
  await serve(options, hasGreeting, { clock: realClock, logger, fatal });
}

async function run([command, ...args]: readonly string[]): Promise<number | null> {
  switch (command ?? "") {
    case "serve":
      await runServe(args);
      return null;
    case "wal":
      return runWal(args);
    case "version":
    case "--version":
      process.stdout.write(versionText(process));
      return null;
    case "help":
    case "--help":
    case "-h":
      process.stdout.write(usageText);
      return null;
    default: {
      const what = command === undefined ? "no command given" : `unknown command "${command}"`;
      throw new StartError(`${what}; see keelson help`, 2);
    }
  }
}

try {
  const exitCode = await run(process.argv.slice(2));
  if (exitCode !== null) process.exitCode = exitCode;
} catch (error) {
  const isRefusal =
    error instanceof StartError || error instanceof WalError || error instanceof MemberRefused;
  // What the system refuses (a directory that may not be written) is no bug either.
  const isPlain = isRefusal || (error instanceof Error && "syscall" in error);
  const text = error instanceof Error ? (isPlain ? error.message : error.stack) : String(error);
  process.stderr.write(`keelson: ${text}\n`);
  process.exit(error instanceof StartError ? error.exitCode : 1);
}
