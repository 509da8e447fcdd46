// One HTTP/2 connection from hand-over to close: its calls, its keepalive, and the police that ends
// it when the client misbehaves (X6-X10). What the protocol itself forbids, and the bounds on
// frames, header blocks, windows and streams, are the session's (http2/server-session.ts).
//
//   handshake ── first SETTINGS ──► serving ── drain() ──► draining ──► closed
//       └── handshakeMs ──► closed     └── expel, no keepalive answer ──► closed
import type { Socket } from "node:net";
import type { MethodTable } from "../api/method.ts";
import type { Timer } from "../base/clock.ts";
import { RequestError } from "../base/errors.ts";
import type { HeaderFields } from "../http2/hpack-decoder.ts";
import { ServerSession } from "../http2/server-session.ts";
import type { SessionOwner } from "../http2/server-session.ts";
import type { ServerStream, StreamListener } from "../http2/server-stream.ts";
import { errorCode } from "../http2/wire.ts";
import type { ConnectionError } from "../http2/wire.ts";
import type { CallConnection, CallDeps } from "./call.ts";
import { Call } from "./call.ts";
import { readCallHead } from "./call-head.ts";
import { ConnectionLedger } from "./connection-ledger.ts";
import { refusalBlock } from "./status.ts";
import { StreamBody } from "./stream-call.ts";
import { UnaryBody } from "./unary-call.ts";

export interface ConnectionDeps extends CallDeps {
  readonly methods: MethodTable;
}

export class Connection implements SessionOwner {
  readonly #deps: ConnectionDeps;
  readonly #session: ServerSession;
  readonly #closed: () => void;
  readonly #calls: CallConnection;
  readonly #streamingCalls = new Set<Call>();
  #handshakeTimer: Timer | null;
  #keepaliveTimer: Timer | null = null;

  constructor(deps: ConnectionDeps, socket: Socket, closed: () => void) {
    const { clock, limits } = deps;
    this.#deps = deps;
    this.#closed = closed;
    this.#calls = {
      ledger: new ConnectionLedger(clock, limits, (reason) => this.#expel(reason)),
      closed: (call) => this.#streamingCalls.delete(call),
    };
    this.#handshakeTimer = clock.after(limits.handshakeMs, () => this.destroy());
    this.#session = new ServerSession({ clock, owner: this }, socket, limits);
  }

  /** No new calls; streaming calls end, since they would never end by themselves. */
  drain(): void {
    this.#session.shut();
    for (const call of this.#streamingCalls) call.end(RequestError.of("stopped"));
  }

  destroy(): void {
    this.#session.destroy();
  }

  opened(stream: ServerStream, fields: HeaderFields): StreamListener {
    const { methods, clock } = this.#deps;
    const { ledger } = this.#calls;
    ledger.opened();
    const head = readCallHead(methods, fields, clock.now());
    if ("refusal" in head) {
      ledger.responded();
      stream.respond(refusalBlock(head.httpStatus, head.refusal), true);
      ledger.closed(false);
      return silentListener;
    }
    const call = new Call(this.#deps, this.#calls, stream, head);
    if (head.method.kind === "unary") {
      call.begin(new UnaryBody(this.#deps, call, head.method));
    } else {
      this.#streamingCalls.add(call);
      const body = new StreamBody(this.#deps, call, head.method);
      call.begin(body);
      void body.run();
    }
    return call;
  }

  settled(): void {
    if (this.#handshakeTimer === null) {
      this.#calls.ledger.idleFrame();
      return;
    }
    this.#handshakeTimer.cancel();
    this.#handshakeTimer = null;
    this.#scheduleKeepalive();
  }

  pinged(): void {
    this.#calls.ledger.pinged();
  }

  idleFrame(): void {
    this.#calls.ledger.idleFrame();
  }

  failed({ message }: ConnectionError): void {
    const remote = this.#session.remoteAddress();
    this.#deps.logger.debug({ error: message, remote }, "connection failed");
  }

  closed(): void {
    this.#handshakeTimer?.cancel();
    this.#keepaliveTimer?.cancel();
    this.#closed();
  }

  /** Our own pings find clients that vanished without closing. */
  #scheduleKeepalive(): void {
    const { clock, limits } = this.#deps;
    if (limits.keepaliveIntervalMs === 0) return;
    this.#keepaliveTimer = clock.after(limits.keepaliveIntervalMs, () => {
      this.#keepaliveTimer = clock.after(limits.keepaliveTimeoutMs, () => this.destroy());
      this.#session.ping(() => {
        this.#keepaliveTimer?.cancel();
        this.#scheduleKeepalive();
      });
    });
  }

  #expel(reason: string): void {
    if (this.#session.isOver()) return;
    this.#deps.logger.warn(
      { reason, remote: this.#session.remoteAddress() },
      "connection ended: client exceeded its budget",
    );
    this.#session.expel(errorCode.enhanceYourCalm, reason);
  }
}

/** Of a stream that was refused with its header block. */
const silentListener: StreamListener = { read() {}, finish() {}, drained() {}, closed() {} };
