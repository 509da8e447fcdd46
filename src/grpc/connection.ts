// One HTTP/2 session from hand-over to close: its calls, its keepalive, and the police that ends
// it when the client misbehaves (X6-X10). Node and nghttp2 enforce what `sessionOptions` sets
// (header size and count, streams, invalid and empty frames, CONTINUATION).
//
//   handshake ── first SETTINGS ──► serving ── drain() ──► draining ──► closed
//       └── handshakeMs ──► closed     └── expel, no keepalive answer ──► closed
import { constants } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { MethodTable } from "../api/method.ts";
import type { Timer } from "../base/clock.ts";
import { RequestError } from "../base/errors.ts";
import type { CallDeps } from "./call.ts";
import { Call } from "./call.ts";
import { isGrpc, readCallHead } from "./call-head.ts";
import type { HeadRefusal, RawHeaders } from "./call-head.ts";
import { ConnectionLedger } from "./connection-ledger.ts";
import { grpcContentType, trailersOf, trailersOnly } from "./status.ts";
import { StreamBody } from "./stream-call.ts";
import { UnaryBody } from "./unary-call.ts";

/** For streams of a session that are not gRPC. */
export type OtherStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

export interface ConnectionDeps extends CallDeps {
  readonly methods: MethodTable;
}

export class Connection {
  readonly #deps: ConnectionDeps;
  readonly #session: ServerHttp2Session;
  readonly #other: OtherStream | null;
  readonly #ledger: ConnectionLedger;
  readonly #streamingCalls = new Set<Call>();
  #handshakeTimer: Timer | null;
  #keepaliveTimer: Timer | null = null;

  constructor(
    deps: ConnectionDeps,
    session: ServerHttp2Session,
    other: OtherStream | null,
    closed: () => void,
  ) {
    this.#deps = deps;
    this.#session = session;
    this.#other = other;
    this.#ledger = new ConnectionLedger(deps.clock, deps.limits, (reason) => this.#expel(reason));
    this.#handshakeTimer = deps.clock.after(deps.limits.handshakeMs, () => session.destroy());
    // A session whose socket died in the handshake has nothing left to come but its 'close'.
    if (!session.destroyed) session.setLocalWindowSize(deps.limits.connectionWindowBytes);
    session.on("stream", this.#stream);
    session.on("remoteSettings", () => this.#settings());
    session.on("ping", () => this.#ledger.pinged());
    session.on("error", (error) => {
      deps.logger.debug({ error, remote: session.socket?.remoteAddress }, "connection failed");
    });
    session.on("close", () => {
      this.#handshakeTimer?.cancel();
      this.#keepaliveTimer?.cancel();
      closed();
    });
  }

  /** No new calls; streaming calls end, since they would never end by themselves. */
  drain(): void {
    this.#session.close();
    for (const call of this.#streamingCalls) call.end(RequestError.of("stopped"));
  }

  destroy(): void {
    this.#session.destroy();
  }

  readonly #stream = (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    _flags: number,
    rawHeaders: RawHeaders,
  ): void => {
    this.#ledger.opened();
    if (listBytes(rawHeaders) > this.#deps.limits.headerListBytesMax) {
      // nghttp2 checks this only from the moment the client has acknowledged our SETTINGS.
      this.#ledger.idleFrame();
      stream.on("error", () => {});
      stream.on("close", () => this.#ledger.closed(false));
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return;
    }
    if (this.#other !== null && !isGrpc(headers["content-type"])) {
      stream.on("close", () => this.#ledger.closed(stream.aborted));
      this.#other(stream, headers);
      return;
    }
    const { methods, clock } = this.#deps;
    const head = readCallHead(methods, headers, rawHeaders, clock.now());
    if ("refusal" in head) {
      this.#refuse(stream, head);
      return;
    }
    const call = new Call(this.#deps, this.#ledger, stream, head);
    if (head.method.kind === "unary") {
      call.begin(new UnaryBody(this.#deps, call, head.method));
    } else {
      this.#streamingCalls.add(call);
      stream.once("close", () => this.#streamingCalls.delete(call));
      const body = new StreamBody(this.#deps, call, head.method);
      call.begin(body);
      void body.run();
    }
  };

  /** Answers a request that is no call, in one header block. */
  #refuse(stream: ServerHttp2Stream, { httpStatus, refusal }: HeadRefusal): void {
    stream.on("error", () => {});
    let isOurs = false;
    stream.on("close", () => this.#ledger.closed(stream.aborted && !isOurs));
    if (stream.destroyed || stream.closed) return;
    this.#ledger.responded();
    stream.respond(
      {
        ":status": httpStatus,
        "content-type": grpcContentType,
        "grpc-accept-encoding": "identity",
        ...trailersOf(refusal),
      },
      trailersOnly,
    );
    stream.resume();
    stream.on("end", () => {});
    // In the next turn: until then a reset would drop the header block (Node 26).
    setImmediate(() => {
      if (stream.readableEnded || stream.destroyed || stream.closed) return;
      isOurs = true;
      stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  #settings(): void {
    if (this.#handshakeTimer === null) {
      this.#ledger.idleFrame();
      return;
    }
    this.#handshakeTimer.cancel();
    this.#handshakeTimer = null;
    this.#scheduleKeepalive();
  }

  /** Our own pings find clients that vanished without closing. */
  #scheduleKeepalive(): void {
    const { clock, limits } = this.#deps;
    if (limits.keepaliveIntervalMs === 0) return;
    this.#keepaliveTimer = clock.after(limits.keepaliveIntervalMs, () => {
      this.#keepaliveTimer = clock.after(limits.keepaliveTimeoutMs, () => this.#session.destroy());
      if (this.#session.destroyed) return;
      this.#session.ping(() => {
        this.#keepaliveTimer?.cancel();
        if (!this.#session.destroyed) this.#scheduleKeepalive();
      });
    });
  }

  #expel(reason: string): void {
    const session = this.#session;
    if (session.destroyed) return;
    this.#deps.logger.warn(
      { reason, remote: session.socket?.remoteAddress },
      "connection ended: client exceeded its budget",
    );
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from(reason));
    session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

/** Size of a header list as HTTP/2 counts it (RFC 9113, 6.5.2). */
function listBytes(rawHeaders: RawHeaders): number {
  let bytes = rawHeaders.length * 16;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}
