// The response half of a streaming call. What a handler writes in one turn goes to the stream
// together, in the parts it came in: nothing is copied here, so that an event shared by thousands
// of watchers exists once, and a client that stops reading leaves references with us.
//
// Bounded: full from `sinkBytesMax` queued bytes, which include what the stream could not send, to
// half of it. A handler that goes on writing to a full sink (answers that cannot wait) has
// `sinkOverrunBytesMax` more; then the client, which does not read, is cut off.
import type { ResponseSink } from "../api/method.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import type { Call, CallDeps } from "./call.ts";
import { frameHeadBytes, sharedFrameHead } from "./frame.ts";

export class StreamSink implements ResponseSink {
  readonly #deps: CallDeps;
  readonly #call: Call;
  /** Of this turn: frame heads and the parts of messages. */
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #overrunBytes = 0;
  #waiters: (() => void)[] = [];

  constructor(deps: CallDeps, call: Call) {
    this.#deps = deps;
    this.#call = call;
  }

  write(message: Uint8Array): boolean {
    return this.writeParts([message]);
  }

  writeParts(parts: readonly Uint8Array[]): boolean {
    if (this.#call.isOver()) return false;
    let messageBytes = 0;
    for (const part of parts) messageBytes += part.length;
    if (!this.#maybeOverrun(messageBytes)) return false;
    if (this.#batch.length === 0) this.#deps.clock.soon(() => this.flush());
    this.#batch.push(sharedFrameHead(messageBytes), ...parts);
    this.#batchBytes += frameHeadBytes + messageBytes;
    this.#deps.observer.sent(this.#call.path, messageBytes);
    return !this.#isFull();
  }

  drained(): Promise<void> {
    if (this.#call.isOver() || !this.#isFull()) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Hands what gathered to the stream; also called before the call's trailers. */
  flush(): void {
    const { stream } = this.#call;
    if (this.#batch.length === 0 || this.#call.isOver()) return;
    const pieces = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    if (stream.isClosed()) return;
    if (!stream.hasResponded()) this.#call.openResponse();
    this.#call.ledger.responded();
    stream.send(pieces);
    this.drain();
  }

  /** Some of what was queued has left: goes on with the handler from half of the bound. */
  drain(): void {
    this.#wake(this.#deps.limits.sinkBytesMax / 2);
  }

  /** The call is over: nobody waits any more. */
  over(): void {
    this.flush();
    this.#wake(Infinity);
  }

  #queuedBytes(): number {
    return this.#batchBytes + this.#call.stream.queuedBytes();
  }

  #isFull(): boolean {
    return this.#queuedBytes() >= this.#deps.limits.sinkBytesMax;
  }

  #maybeOverrun(messageBytes: number): boolean {
    if (!this.#isFull()) {
      this.#overrunBytes = 0;
      return true;
    }
    this.#overrunBytes += frameHeadBytes + messageBytes;
    if (this.#overrunBytes <= this.#deps.limits.sinkOverrunBytesMax) return true;
    this.#call.cut(
      RequestError.worded(
        grpcStatus.resourceExhausted,
        "keelson: the client does not read its responses",
      ),
    );
    return false;
  }

  #wake(queuedBytesMax: number): void {
    if (this.#waiters.length === 0 || this.#queuedBytes() > queuedBytesMax) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }
}
