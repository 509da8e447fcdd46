// The response half of a streaming call. What a handler writes in one turn leaves as one write:
// small parts are copied together, large ones are passed on as they are, so that an event shared
// by thousands of watchers exists once.
//
// Bounded: full from `sinkBytesMax` queued bytes, which include what Node and HTTP/2 flow control
// hold back, to half of it. A handler that goes on writing to a full sink (answers that cannot
// wait) has `sinkOverrunBytesMax` more; then the client, which does not read, is cut off.
import type { ResponseSink } from "../api/method.ts";
import { grpcStatus, RequestError } from "../base/errors.ts";
import type { Call, CallDeps } from "./call.ts";
import { frameHeadBytes, writeFrameHead } from "./frame.ts";

/** From this size a part is passed on instead of copied. */
const shareBytesMin = 512;

export class StreamSink implements ResponseSink {
  readonly #deps: CallDeps;
  readonly #call: Call;
  /** Messages of this turn: the length of each, then its parts. */
  #batch: (number | Uint8Array)[] = [];
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
    this.#batch.push(messageBytes, ...parts);
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
    const chunks = joinSmallParts(this.#batch);
    this.#batch = [];
    this.#batchBytes = 0;
    if (stream.isClosed()) return;
    if (!stream.hasResponded()) this.#call.openResponse();
    this.#call.ledger.responded();
    stream.send(chunks);
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

/** Frames of a batch as few buffers: runs of heads and small parts in one, large parts alone. */
function joinSmallParts(batch: readonly (number | Uint8Array)[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let at = 0;
  while (at < batch.length) {
    let runBytes = 0;
    let end = at;
    for (; end < batch.length; end++) {
      const item = batch[end];
      if (typeof item === "number") runBytes += frameHeadBytes;
      else if (item !== undefined && item.length < shareBytesMin) runBytes += item.length;
      else break;
    }
    if (end > at) chunks.push(copyRun(batch.slice(at, end), runBytes));
    const large = batch[end];
    if (typeof large === "object") chunks.push(large);
    at = end + 1;
  }
  return chunks;
}

function copyRun(items: readonly (number | Uint8Array)[], runBytes: number): Buffer {
  const run = Buffer.allocUnsafe(runBytes);
  let at = 0;
  for (const item of items) {
    if (typeof item === "number") {
      writeFrameHead(run, at, item);
      at += frameHeadBytes;
    } else {
      run.set(item, at);
      at += item.length;
    }
  }
  return run;
}
