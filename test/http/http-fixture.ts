// The HTTP side on fakes: methods without a node, a health source that a test sets.
import type { CallObserver } from "../../src/api/call-observer.ts";
import type { Clock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { Gateway } from "../../src/http/gateway.ts";
import type { HealthPath, HealthSource } from "../../src/http/health.ts";
import type { HttpApp, HttpOptions } from "../../src/http/http-server.ts";
import { defaultHttpOptions, openHttpApp } from "../../src/http/http-server.ts";
import { realClock } from "../../src/server/real-clock.ts";
import { FakeMethods } from "./fake-methods.ts";

export interface Health {
  alarms: string[];
  hasLeader: boolean;
  isLearner: boolean;
  /** What a read throws; null: it succeeds. */
  readFailure: { linearizable: Error | null; serializable: Error | null };
}

export interface HttpFixture extends HttpApp {
  readonly methods: FakeMethods;
  readonly gateway: Gateway;
  readonly health: Health;
  /** What ended the process, had it been one. */
  readonly fatalities: unknown[];
  /** What the gateway told of its calls, in order. */
  readonly calls: readonly string[];
  readonly observed: [HealthPath, string | null, boolean][];
}

export async function openFixture(
  options: Partial<HttpOptions> = {},
  clock: Clock = realClock,
): Promise<HttpFixture> {
  const methods = new FakeMethods();
  const health: Health = {
    alarms: [],
    hasLeader: true,
    isLearner: false,
    readFailure: { linearizable: null, serializable: null },
  };
  const observed: [HealthPath, string | null, boolean][] = [];
  const source: HealthSource = {
    alarms: () => health.alarms,
    hasLeader: () => health.hasLeader,
    isLearner: () => health.isLearner,
    async read(kind) {
      const failure = health.readFailure[kind];
      if (failure !== null) throw failure;
    },
  };
  const fatalities: unknown[] = [];
  const sinks = {
    logger: silentLogger,
    fatal: (error: unknown) => void fatalities.push(error),
  };
  const calls: string[] = [];
  const observer: CallObserver = {
    started: (path) => calls.push(`started ${path}`),
    received: (path, messageBytes) => calls.push(`received ${path} ${messageBytes}`),
    sent: (path, messageBytes) => calls.push(`sent ${path} ${messageBytes}`),
    finished: (path, status) => calls.push(`finished ${path} ${status}`),
  };
  const gateway = new Gateway(
    { methods: methods.table(), clock, observer, ...sinks },
    { bytesMax: 4096, depthMax: 100, firstTextMs: 500 },
  );
  const http = await openHttpApp(
    {
      health: { source, observe: (...seen) => observed.push(seen) },
      metrics: async () => ({ contentType: "text/plain; version=0.0.4", text: "up 1\n" }),
      gateway,
      ...sinks,
    },
    { ...defaultHttpOptions, ...options },
  );
  return { ...http, methods, gateway, health, fatalities, calls, observed };
}
