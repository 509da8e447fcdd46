// One call from its header block to its last frame: deadline, cancellation, and the one end that
// it has. What differs between unary and streaming calls is in unary-call and stream-call.
//
//   open ── answer() ─► over   message and trailers (unary)
//   open ── end() ────► over   trailers, alone or behind messages
//   open ── cut() ────► over   RST_STREAM: the client does not read
//   open ── closed() ─► over   the client reset the stream, or the connection is gone
//
// The handler may settle long after that; what it gives then is dropped.
import type { CallContext, Metadata } from "../api/method.ts";
import { AssertionError } from "../base/assert.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { ArrivalWatch } from "./arrival-watch.ts";
import type { CallHead } from "./call-head.ts";
import type { ConnectionLedger } from "./connection-ledger.ts";
import { frameHeadBytes, writeFrameHead } from "./frame.ts";
import type { GrpcLimits } from "./limits.ts";
import type { CallObserver } from "../api/call-observer.ts";
import { errorCode } from "../http2/wire.ts";
import type { ServerStream, StreamListener } from "../http2/server-stream.ts";
import { responseBlock, trailersOf, trailersOnlyOf } from "./status.ts";

/** What all calls of one server share. */
export interface CallDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: CallObserver;
  readonly fatal: (error: unknown) => void;
  readonly limits: GrpcLimits;
  readonly arrivals: ArrivalWatch;
}

/** Timers of Node fire at once beyond this; a deadline in 25 days needs none. */
const timerMsMax = 2 ** 31 - 1;

/** An AbortController takes 2 µs, of some 25 for an empty call, and many handlers never look at
 * the signal: it is made when it is first asked for. */
class LazyContext implements CallContext {
  readonly deadline: number;
  readonly metadata: Metadata;
  #controller: AbortController | null = null;
  #reason: RequestError | null = null;

  constructor({ deadline, metadata }: CallHead) {
    this.deadline = deadline;
    this.metadata = metadata;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#reason !== null) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort(reason: RequestError): void {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/** What a call does with its request: the part in which unary and streaming calls differ. */
export interface CallBody {
  read(chunk: Buffer): void;
  /** The client half-closed. */
  finish(): void;
  /** Some of the response has left. */
  drained?(): void;
  /** The call is over; told once, before the last frame leaves. */
  over(refusal: RequestError | null, responseBytes: number): void;
}

/** What a call needs of the connection that it came on. */
export interface CallConnection {
  readonly ledger: ConnectionLedger;
  /** The call's stream is gone. */
  readonly closed: (call: Call) => void;
}

export class Call implements StreamListener {
  readonly path: string;
  readonly stream: ServerStream;
  readonly ledger: ConnectionLedger;
  readonly #deps: CallDeps;
  readonly #deadlineTimer: Timer | null;
  readonly #connection: CallConnection;
  readonly #context: LazyContext;
  #body: CallBody | null = null;
  #isOver = false;
  #unreadBytes = 0;

  constructor(deps: CallDeps, connection: CallConnection, stream: ServerStream, head: CallHead) {
    this.#deps = deps;
    this.ledger = connection.ledger;
    this.#connection = connection;
    this.stream = stream;
    this.path = head.path;
    this.#context = new LazyContext(head);
    const leftMs = head.deadline - deps.clock.now();
    this.#deadlineTimer =
      leftMs > timerMsMax
        ? null
        : deps.clock.after(Math.max(0, leftMs), () =>
            this.end(RequestError.of("contextDeadlineExceeded")),
          );
    deps.observer.started(this.path);
  }

  /** What reads the request; before its first byte. */
  begin(body: CallBody): void {
    this.#body = body;
  }

  /** For the handler. */
  context(): CallContext {
    return this.#context;
  }

  isOver(): boolean {
    return this.#isOver;
  }

  /** The one response of a unary call, and OK. */
  answer(message: Uint8Array): void {
    if (this.#isOver) return;
    this.#unreadBytes = message.length;
    this.ledger.unread(message.length);
    this.#finish(null);
    this.#deps.observer.sent(this.path, message.length);
    this.openResponse();
    const frameHead = Buffer.allocUnsafe(frameHeadBytes);
    writeFrameHead(frameHead, 0, message.length);
    this.stream.send([frameHead, message]);
    this.stream.end(trailersOf(null));
  }

  /** Ends the call with this refusal, or with OK. Nothing happens if it is over. */
  end(refusal: RequestError | null): void {
    if (this.#isOver) return;
    this.#finish(refusal);
    this.ledger.responded();
    if (this.stream.hasResponded()) this.stream.end(trailersOf(refusal));
    else this.stream.respond(trailersOnlyOf(refusal), true);
  }

  /** Ends the call for a client that does not read, so that no trailers would reach it. */
  cut(refusal: RequestError): void {
    if (this.#isOver) return;
    this.#finish(refusal);
    this.stream.reset(errorCode.enhanceYourCalm);
  }

  /** What a handler threw becomes the call's end. */
  failed(error: unknown): void {
    if (error instanceof RequestError) {
      this.end(error);
      return;
    }
    if (error instanceof AssertionError) {
      this.#deps.fatal(error);
    } else {
      this.#deps.logger.error({ error, path: this.path }, "handler failed");
    }
    this.end(
      RequestError.worded(
        grpcStatus.internal,
        "keelson: internal error, see the log of this member",
        error,
      ),
    );
  }

  /** Response headers, before the first message. */
  openResponse(): void {
    this.stream.respond(responseBlock, false);
    this.ledger.responded();
  }

  read(chunk: Buffer): void {
    if (!this.#isOver) this.#body?.read(chunk);
    // What arrives after the end is dropped until the client has seen it.
    else if (chunk.length < this.#deps.limits.pieceBytesMin) this.ledger.idleFrame();
  }

  finish(): void {
    if (!this.#isOver) this.#body?.finish();
  }

  drained(): void {
    // A frame left: who measures bandwidth pings at each.
    this.ledger.responded();
    this.#body?.drained?.();
  }

  closed(isReset: boolean): void {
    if (!this.#isOver) this.#finish(RequestError.of("contextCanceled"));
    if (this.#unreadBytes > 0) this.ledger.unread(-this.#unreadBytes);
    this.ledger.closed(isReset);
    this.#connection.closed(this);
  }

  #finish(refusal: RequestError | null): void {
    this.#body?.over(refusal, this.#unreadBytes);
    this.#isOver = true;
    this.#deadlineTimer?.cancel();
    this.#deps.observer.finished(this.path, refusal?.status ?? grpcStatus.ok);
    if (refusal !== null) this.#context.abort(refusal);
  }
}
