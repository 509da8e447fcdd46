// A GrpcServer on a loopback socket, for tests that need real HTTP/2: methods of the test, limits
// that it may shrink, and what the server told its collaborators.
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import type { Method } from "../../src/api/method.ts";
import type { Clock } from "../../src/base/clock.ts";
import type { GrpcStatus } from "../../src/base/errors.ts";
import type { LogFields } from "../../src/base/logger.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { GrpcServer } from "../../src/grpc/grpc-server.ts";
import { defaultGrpcLimits } from "../../src/grpc/limits.ts";
import type { GrpcLimits } from "../../src/grpc/limits.ts";
import { realClock } from "../../src/server/real-clock.ts";

export interface LoopbackServer {
  readonly port: number;
  readonly server: GrpcServer;
  /** Statuses of finished calls, in order. */
  readonly finished: GrpcStatus[];
  readonly fatalErrors: unknown[];
  readonly errors: LogFields[];
  close(): Promise<void>;
}

export async function openLoopback(
  methods: Iterable<readonly [string, Method]>,
  limits: Partial<GrpcLimits> = {},
  clock: Clock = realClock,
): Promise<LoopbackServer> {
  const finished: GrpcStatus[] = [];
  const fatalErrors: unknown[] = [];
  const errors: LogFields[] = [];
  const server = new GrpcServer(
    {
      methods: new Map(methods),
      clock,
      logger: { ...silentLogger, error: (fields) => errors.push(fields) },
      observer: {
        started() {},
        received() {},
        sent() {},
        finished: (_path, status) => finished.push(status),
      },
      fatal: (error) => fatalErrors.push(error),
    },
    { ...defaultGrpcLimits, ...limits },
  );
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on("error", () => {});
    server.accept(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;
  return {
    port,
    server,
    finished,
    fatalErrors,
    errors,
    async close() {
      listener.close();
      await server.close(0);
    },
  };
}

/** Waits until `isTrue`, a few seconds at most. */
export async function eventually(isTrue: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 10_000;
  while (!isTrue()) {
    if (performance.now() > endMs) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
