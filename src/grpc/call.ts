// One call from its header block to its last frame: deadline, cancellation, and the one end that
// it has. What differs between unary and streaming calls is in unary-call and stream-call.
//
//   open ── answer() ─► over   message and trailers (unary)
//   open ── end() ────► over   trailers, alone or behind messages
//   open ── cut() ────► over   RST_STREAM: the client does not read
//   open ── 'close' ──► over   the client reset the stream, or the connection is gone
//
// The handler may settle long after that; what it gives then is dropped.
import { constants } from "node:http2";
import type { OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { CallContext } from "../api/method.ts";
import { assert, AssertionError } from "../base/assert.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { ArrivalWatch } from "./arrival-watch.ts";
import type { CallHead } from "./call-head.ts";
import type { ConnectionLedger } from "./connection-ledger.ts";
import { encodeFrame, frameHeadBytes, writeFrameHead } from "./frame.ts";
import type { GrpcLimits } from "./limits.ts";
import type { CallObserver } from "../api/call-observer.ts";
import { okTrailers, responseHeaders, trailersOf, trailersOnly, withTrailers } from "./status.ts";

/** What all calls of one server share. */
export interface CallDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: CallObserver;
  readonly fatal: (error: unknown) => void;
  readonly limits: GrpcLimits;
  readonly arrivals: ArrivalWatch;
}

/** Up to this size a copy is cheaper than a second write. */
const copyBytesMax = 16_384;

/** Timers of Node fire at once beyond this; a deadline in 25 days needs none. */
const timerMsMax = 2 ** 31 - 1;

/** An AbortController takes 2 µs, of some 25 for an empty call, and many handlers never look at
 * the signal: it is made when it is first asked for. */
class LazyContext implements CallContext {
  readonly deadline: number;
  readonly metadata: ReadonlyMap<string, string>;
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
  /** The call is over; told once, before the last frame leaves. */
  over(reason: RequestError | null): void;
}

// Each reset with a code is an 'error' too; 'close' follows and says all that matters.
const ignoreError = (): void => {};

export class Call {
  readonly path: string;
  readonly stream: ServerHttp2Stream;
  readonly ledger: ConnectionLedger;
  readonly #deps: CallDeps;
  readonly #deadlineTimer: Timer | null;
  #context: LazyContext | null;
  #body: CallBody | null = null;
  #isOver = false;
  /** Set by us before a reset, so that it is not held against the client. */
  #isCut = false;
  #trailers: OutgoingHttpHeaders = okTrailers;
  #unreadBytes = 0;

  constructor(deps: CallDeps, ledger: ConnectionLedger, stream: ServerHttp2Stream, head: CallHead) {
    this.#deps = deps;
    this.ledger = ledger;
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
    stream.on("error", ignoreError);
    stream.on("close", () => this.#closed());
    deps.observer.started(this.path);
  }

  /** Starts reading the request into `body`. */
  begin(body: CallBody): void {
    this.#body = body;
    this.stream.on("data", (chunk: Buffer) => {
      // What arrives after the end is dropped until the client has seen it.
      if (!this.#isOver) this.#body?.read(chunk);
    });
    this.stream.on("end", () => {
      // A reset ends the readable side too.
      if (!this.#isOver && !this.stream.aborted) this.#body?.finish();
    });
  }

  /** For the handler; only while the call is not over. */
  context(): CallContext {
    assert(this.#context !== null, "a call has its context until its stream is closed");
    return this.#context;
  }

  isOver(): boolean {
    return this.#isOver;
  }

  /** The one response of a unary call, and OK. */
  answer(message: Uint8Array): void {
    if (this.#isOver) return;
    this.#finish(null);
    if (!this.#isWritable()) return;
    this.#deps.observer.sent(this.path, message.length);
    this.#unreadBytes = message.length;
    this.ledger.unread(message.length);
    this.openResponse();
    const { stream } = this;
    if (message.length > copyBytesMax) {
      const frameHead = Buffer.allocUnsafe(frameHeadBytes);
      writeFrameHead(frameHead, 0, message.length);
      stream.cork();
      stream.write(frameHead);
      stream.end(message);
    } else {
      stream.end(encodeFrame(message));
    }
  }

  /** Ends the call with this refusal, or with OK. Nothing happens if it is over. */
  end(refusal: RequestError | null): void {
    if (this.#isOver) return;
    this.#finish(refusal);
    if (!this.#isWritable()) return;
    const { stream } = this;
    this.ledger.responded();
    if (stream.headersSent) {
      this.#trailers = trailersOf(refusal);
      stream.end();
    } else {
      stream.respond({ ...responseHeaders, ...trailersOf(refusal) }, trailersOnly);
      this.#stopClientSoon();
    }
  }

  /** Ends the call for a client that does not read, so that no trailers would reach it. */
  cut(refusal: RequestError): void {
    if (this.#isOver) return;
    this.#finish(refusal);
    this.#isCut = true;
    if (this.#isWritable()) this.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
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
    const { stream } = this;
    stream.respond(responseHeaders, withTrailers);
    stream.on("wantTrailers", () => {
      if (!this.#isWritable()) return;
      stream.sendTrailers(this.#trailers);
      this.#stopClientSoon();
    });
    this.ledger.responded();
  }

  #finish(refusal: RequestError | null): void {
    this.#body?.over(refusal);
    this.#isOver = true;
    this.#deadlineTimer?.cancel();
    this.#deps.observer.finished(this.path, refusal?.status ?? grpcStatus.ok);
    if (refusal !== null) this.#context?.abort(refusal);
  }

  #closed(): void {
    if (!this.#isOver) this.#finish(RequestError.of("contextCanceled"));
    if (this.#unreadBytes > 0) this.ledger.unread(-this.#unreadBytes);
    this.ledger.closed(this.stream.aborted && !this.#isCut);
    // Node's handle keeps a closed stream, and its listeners this call, until the next full
    // collection; what hangs on the call goes now, so that each scavenge need not copy it.
    this.#body = null;
    this.#context = null;
  }

  /** A reset drops what has not left yet: trailers, which Node sends in the next turn, and, on
   * Node 26, also a header block given while frames of this connection are being read. */
  #stopClientSoon(): void {
    if (!this.stream.readableEnded) setImmediate(() => this.#stopClient());
  }

  /** A client that is still sending is told, without blame, that nobody listens. */
  #stopClient(): void {
    if (this.stream.readableEnded || !this.#isWritable()) return;
    this.#isCut = true;
    this.stream.resume();
    this.stream.close(constants.NGHTTP2_NO_ERROR);
  }

  #isWritable(): boolean {
    return !this.stream.destroyed && !this.stream.closed;
  }
}
