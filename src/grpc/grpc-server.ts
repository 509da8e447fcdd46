// gRPC on HTTP/2 by our own adapter (docs/adr/0010): bytes in, bytes out. It takes sockets that the
// listener found to speak HTTP/2, plain or TLS, serves the methods of one table on their streams,
// and polices each connection.
//
// Deliberately absent: sockets, TLS and caps on connections (the listener), protobuf (handlers get
// and give bytes), compression (refused, X5), reflection.
import type { Socket } from "node:net";
import type { MethodTable } from "../api/method.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import { ArrivalWatch } from "./arrival-watch.ts";
import { Connection } from "./connection.ts";
import type { ConnectionDeps } from "./connection.ts";
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

  /** Takes over a socket of which nothing has been read. */
  accept(socket: Socket): void {
    const connection: Connection = new Connection(this.#deps, socket, () => {
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
