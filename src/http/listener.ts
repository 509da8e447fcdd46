// One client port for two protocols, told apart by the first bytes of each connection: HTTP/2
// with prior knowledge begins with "PRI", and no HTTP/1 method does. The bytes looked at are put
// back, and the socket is handed on to the HTTP server or to the one that speaks HTTP/2.
//
//   accepted --first bytes--> http1 | http2 --> closed
//      |-- a cap is reached: closed at once
//      |-- no first bytes in time, or the wrong protocol for this port: closed
//
// Caps live here because here sockets come first: on all connections, on those of one address,
// and on those that have not said yet what they speak (faults X9, X10). Every socket has an error
// handler from its first moment on.
import type { Server as HttpServer } from "node:http";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";

export interface ListenerLimits {
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  /** Connections that have not sent their first bytes. */
  readonly undecidedMax: number;
  readonly firstBytesMs: number;
}

export const defaultListenerLimits: ListenerLimits = {
  connectionsMax: 20_000,
  // Everybody behind one balancer has one address.
  connectionsPerAddressMax: 10_000,
  undecidedMax: 1_000,
  firstBytesMs: 5_000,
};

/** Takes sockets that speak HTTP/2; the gRPC server does. */
export interface Http2Acceptor {
  /** Nothing of the socket has been read; it is paused. */
  accept(socket: Socket): void;
}

export interface ListenerCollaborators {
  /** Null: this port speaks gRPC only. */
  readonly http: HttpServer | null;
  /** Null: this port speaks HTTP/1 only. */
  readonly http2: Http2Acceptor | null;
  readonly clock: Clock;
  readonly logger: Logger;
}

type Protocol = "http1" | "http2" | "undecided";

function protocolOf(bytes: Uint8Array): Protocol {
  const preface = [0x50, 0x52, 0x49];
  for (let i = 0; i < preface.length; i++) {
    if (i >= bytes.length) return "undecided";
    if (bytes[i] !== preface[i]) return "http1";
  }
  return "http2";
}

export class Listener {
  readonly #collaborators: ListenerCollaborators;
  readonly #limits: ListenerLimits;
  readonly #server: Server;
  /** Open connections, and how many there are by remote address. */
  readonly #sockets = new Set<Socket>();
  readonly #countByAddress = new Map<string, number>();
  #undecidedCount = 0;

  constructor(collaborators: ListenerCollaborators, limits: ListenerLimits) {
    this.#collaborators = collaborators;
    this.#limits = limits;
    const options = { allowHalfOpen: true, noDelay: true, keepAlive: true };
    this.#server = createServer(options, (socket) => this.#accept(socket));
  }

  /** Binds; rejects with the system's error. Port 0 picks a free one. */
  async listen(host: string, port: number): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    // Accepting can fail (no descriptors left): the port stays, the next connection may do.
    this.#server.on("error", (error) => {
      this.#collaborators.logger.warn({ error: error.message }, "accepting a connection failed");
    });
    return this.#server.address() as AddressInfo;
  }

  connectionCount(): number {
    return this.#sockets.size;
  }

  /** No new connections; those that are open stay until `destroyConnections`. */
  stopAccepting(): void {
    this.#server.close();
  }

  destroyConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    socket.on("error", (error) => {
      this.#collaborators.logger.debug({ error: error.message }, "connection failed");
    });
    const address = socket.remoteAddress ?? "";
    const count = this.#countByAddress.get(address) ?? 0;
    const refusal = this.#refusal(count);
    if (refusal !== null) {
      this.#collaborators.logger.warn(
        { remoteAddress: address, reason: refusal },
        "rejected connection on client endpoint",
      );
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    this.#countByAddress.set(address, count + 1);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      const left = (this.#countByAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#countByAddress.delete(address);
      else this.#countByAddress.set(address, left);
    });
    this.#awaitFirstBytes(socket);
  }

  #refusal(countOfAddress: number): string | null {
    if (this.#sockets.size >= this.#limits.connectionsMax) return "too many connections";
    if (countOfAddress >= this.#limits.connectionsPerAddressMax) {
      return "too many connections from this address";
    }
    if (this.#undecidedCount >= this.#limits.undecidedMax) return "too many silent connections";
    return null;
  }

  #awaitFirstBytes(socket: Socket): void {
    this.#undecidedCount++;
    let seen: Buffer = Buffer.alloc(0);
    const timer = this.#collaborators.clock.after(this.#limits.firstBytesMs, () =>
      socket.destroy(),
    );
    const settle = () => {
      this.#undecidedCount--;
      timer.cancel();
      socket.off("data", look).off("close", settle).off("end", hangUp);
    };
    const hangUp = () => socket.destroy();
    const look = (bytes: Buffer) => {
      seen = seen.length === 0 ? bytes : Buffer.concat([seen, bytes]);
      const protocol = protocolOf(seen);
      if (protocol === "undecided") return;
      settle();
      // Paused while nobody listens, so that the bytes put back are seen by who comes next.
      socket.pause();
      socket.unshift(seen);
      if (protocol === "http2") this.#toHttp2(socket);
      else this.#toHttp(socket);
    };
    socket.on("data", look).on("close", settle).on("end", hangUp);
  }

  #toHttp(socket: Socket): void {
    const { http } = this.#collaborators;
    if (http === null) {
      socket.destroy();
      return;
    }
    http.emit("connection", socket);
    socket.resume();
  }

  #toHttp2(socket: Socket): void {
    const { http2 } = this.#collaborators;
    if (http2 === null) socket.destroy();
    else http2.accept(socket);
  }
}
