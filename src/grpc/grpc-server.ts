// gRPC on node:http2 by our own adapter (house decision 8): bytes in, bytes out. It takes sessions
// that the listener made (`http2.performServerHandshake(socket, server.sessionOptions())`, plain
// or TLS), serves the methods of one table on their streams, and polices each connection.
//
// Deliberately absent: sockets, TLS and caps on connections (the listener), protobuf (handlers get
// and give bytes), compression (refused, X5), reflection.
//
// A session must have no http2 server behind it: Node would attach its compatibility layer to
// every stream. Streams that are not gRPC go to the function given to `accept`.
import type { ServerHttp2Session, ServerOptions } from "node:http2";
import type { MethodTable } from "../api/method.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { ArrivalWatch } from "./arrival-watch.ts";
import { Connection } from "./connection.ts";
import type { ConnectionDeps, OtherStream } from "./connection.ts";
import type { GrpcLimits } from "./limits.ts";
import type { CallObserver } from "../api/call-observer.ts";

export interface GrpcServerDeps {
  readonly methods: MethodTable;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: CallObserver;
  /** Ends the process: a handler met a broken invariant. */
  readonly fatal: (error: unknown) => void;
}

export class GrpcServer {
  readonly #deps: ConnectionDeps;
  readonly #connections = new Set<Connection>();
  #isClosing = false;
  #whenEmpty: () => void = () => {};

  constructor(deps: GrpcServerDeps, limits: GrpcLimits) {
    const arrivals = new ArrivalWatch(deps.clock, limits.requestArrivalMs);
    this.#deps = { ...deps, limits, arrivals };
  }

  /** For performServerHandshake: what Node and nghttp2 enforce for us. */
  sessionOptions(): ServerOptions {
    const { limits } = this.#deps;
    return {
      maxHeaderListPairs: limits.headerPairsMax,
      maxSessionInvalidFrames: limits.invalidFramesMax,
      maxSessionMemory: limits.sessionMemoryMebibytesMax,
      settings: {
        initialWindowSize: limits.streamWindowBytes,
        maxConcurrentStreams: limits.streamsPerConnectionMax,
        maxHeaderListSize: limits.headerListBytesMax,
      },
    };
  }

  /** Takes over a session. Without `other`, streams that are not gRPC get HTTP status 415. */
  accept(session: ServerHttp2Session, other: OtherStream | null = null): void {
    const connection: Connection = new Connection(this.#deps, session, other, () => {
      this.#connections.delete(connection);
      if (this.#connections.size === 0) this.#whenEmpty();
    });
    this.#connections.add(connection);
    if (this.#isClosing) connection.drain();
  }

  connectionCount(): number {
    return this.#connections.size;
  }

  /** GOAWAY; streaming calls end as Unavailable, unary ones have `graceMs` to finish. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    if (this.#connections.size > 0) await this.#drain(graceMs);
    this.#deps.arrivals.stop();
  }

  async #drain(graceMs: number): Promise<void> {
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
    for (const connection of this.#connections) connection.drain();
    const timer = this.#deps.clock.after(graceMs, () => {
      for (const connection of this.#connections) connection.destroy();
    });
    await empty;
    timer.cancel();
  }
}
