// One stream of a connection (RFC 9113, 5.1): a request body that comes, a response that goes.
//
//   open ── END_STREAM of the client ──► half closed ── our last frame ──► closed
//     ├── our last frame ──► RST_STREAM(NO_ERROR): nobody listens any more ──► closed
//     └── RST_STREAM of either side, or the end of the connection ──► closed
//
// Pausing holds what comes back in memory until the window is used up, and the client with it.
// What is queued to send is the writer's to bound, by `queuedBytes` and `drained`.
import { assert } from "../base/assert.ts";
import { writeReset, writeWindowUpdate } from "./control-frames.ts";
import type { Output } from "./output.ts";
import { SendQueue } from "./send-queue.ts";
import { errorCode, framePayloadBytesMax, frameType } from "./wire.ts";
import type { ErrorCode } from "./wire.ts";

/** Who reads a request and writes its response. */
export interface StreamListener {
  /** A piece of the request body, owned by the listener. */
  read(chunk: Buffer): void;
  /** The request body is whole. */
  finish(): void;
  /** Some of what was queued has left. */
  drained(): void;
  /** Told once, last. `isReset`: the client took it back, or is gone. */
  closed(isReset: boolean): void;
}

/** What a stream needs of its connection. */
export interface StreamSession {
  readonly output: Output;
  /** Bytes of bodies that the client lets this connection send. */
  sendWindow(): number;
  sent(bytes: number): void;
  /** The stream has something to send that had to wait. */
  wait(stream: ServerStream): void;
  /** Received bytes that were read: the connection's window opens by them. */
  consumed(bytes: number): void;
  forget(stream: ServerStream): void;
}

const nothing = Buffer.alloc(0);

export class ServerStream {
  readonly id: number;
  readonly #session: StreamSession;
  readonly #windowBytes: number;
  #listener: StreamListener | null = null;
  #sendWindow: number;
  #queue: SendQueue | null = null;
  /** Waits for the queue to be sent. */
  #trailers: Uint8Array | null = null;
  #hasResponded = false;
  #isRemoteEnded = false;
  #isClosed = false;
  /** Received and not yet given back to the client's window. */
  #receivedBytes = 0;
  /** Of these, those that were read. */
  #readBytes = 0;
  #isPaused = false;
  #held: Buffer = nothing;
  #heldFrom = 0;
  #heldTo = 0;
  /** The body is whole, and lies in `#held`. */
  #isFinishHeld = false;

  constructor(
    session: StreamSession,
    id: number,
    windows: { readonly send: number; readonly receive: number },
  ) {
    this.#session = session;
    this.id = id;
    this.#sendWindow = windows.send;
    this.#windowBytes = windows.receive;
  }

  /** At once when the stream is opened; one that was closed by then is told so. */
  listen(listener: StreamListener): void {
    this.#listener = listener;
    if (this.#isClosed) listener.closed(false);
  }

  isClosed(): boolean {
    return this.#isClosed;
  }

  hasResponded(): boolean {
    return this.#hasResponded;
  }

  /** Bytes of the response body that have not been given to the socket. */
  queuedBytes(): number {
    return this.#queue?.bytes() ?? 0;
  }

  /** The header block of the response; `isEnd`: there is no more. */
  respond(block: Uint8Array, isEnd: boolean): void {
    if (this.#isClosed) return;
    assert(!this.#hasResponded, "a stream is answered twice");
    this.#hasResponded = true;
    this.#session.output.headers(this.id, isEnd, block);
    if (isEnd) this.#endLocal();
  }

  /** More of the response body. */
  send(pieces: readonly Uint8Array[]): void {
    if (this.#isClosed) return;
    assert(this.#hasResponded && this.#trailers === null, "a body outside its response");
    let bytes = 0;
    for (const piece of pieces) bytes += piece.length;
    const { output } = this.#session;
    if (bytes <= this.#roomBytes() && this.queuedBytes() === 0 && output.isOpen()) {
      output.frameHead(bytes, frameType.data, 0, this.id);
      for (const piece of pieces) output.bytes(piece);
      this.#countSent(bytes);
      return;
    }
    this.#queue ??= new SendQueue();
    for (const piece of pieces) this.#queue.push(piece);
    this.#session.wait(this);
  }

  /** The last header block, behind everything that is queued. */
  end(trailers: Uint8Array): void {
    if (this.#isClosed) return;
    this.#trailers = trailers;
    this.#maybeEnd();
  }

  reset(code: ErrorCode): void {
    if (this.#isClosed) return;
    writeReset(this.#session.output, this.id, code);
    this.#close(false);
  }

  /** What comes now is held. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    while (this.#heldFrom < this.#heldTo && !this.#isPaused) {
      const end = Math.min(this.#heldTo, this.#heldFrom + framePayloadBytesMax);
      const chunk = Buffer.from(this.#held.subarray(this.#heldFrom, end));
      this.#heldFrom = end;
      this.#consume(chunk.length);
      this.#listener?.read(chunk);
    }
    if (this.#heldFrom < this.#heldTo) return;
    this.#dropHeld();
    if (this.#isFinishHeld && !this.#isClosed) {
      this.#isFinishHeld = false;
      this.#listener?.finish();
    }
  }

  // What follows is called by the connection.

  /** Whether there is anything to send that the client's window allows. */
  isReady(): boolean {
    return this.queuedBytes() > 0 && this.#sendWindow > 0;
  }

  /** One frame of what is queued. */
  sendFrame(): void {
    const bytes = Math.min(this.queuedBytes(), this.#roomBytes());
    if (bytes <= 0 || this.#queue === null) return;
    this.#session.output.frameHead(bytes, frameType.data, 0, this.id);
    this.#queue.take(bytes, this.#session.output);
    this.#countSent(bytes);
    this.#listener?.drained();
    this.#maybeEnd();
  }

  /** The client's window for this stream changed; false: beyond what the protocol allows. */
  maybeWiden(bytes: number, windowBytesMax: number): boolean {
    this.#sendWindow += bytes;
    if (this.isReady()) this.#session.wait(this);
    return this.#sendWindow <= windowBytesMax;
  }

  /** Body bytes came, `frameBytes` with their padding; false: more than was allowed. */
  maybeReceive(chunk: Buffer, frameBytes: number): boolean {
    this.#receivedBytes += frameBytes;
    if (this.#receivedBytes > this.#windowBytes) return false;
    if (this.#isPaused) {
      this.#hold(chunk);
      this.#consume(frameBytes - chunk.length);
    } else {
      this.#consume(frameBytes);
      if (chunk.length > 0) this.#listener?.read(chunk);
    }
    return true;
  }

  isRemoteEnded(): boolean {
    return this.#isRemoteEnded;
  }

  /** The client sent its last frame. */
  endRemote(): void {
    this.#isRemoteEnded = true;
    if (this.#heldFrom < this.#heldTo) this.#isFinishHeld = true;
    else this.#listener?.finish();
  }

  /** The client reset it, or the connection is gone. */
  abort(): void {
    this.#close(true);
  }

  #roomBytes(): number {
    return Math.min(this.#sendWindow, this.#session.sendWindow(), framePayloadBytesMax);
  }

  #countSent(bytes: number): void {
    this.#sendWindow -= bytes;
    this.#session.sent(bytes);
  }

  #maybeEnd(): void {
    if (this.#trailers === null || this.queuedBytes() > 0) return;
    this.#session.output.headers(this.id, true, this.#trailers);
    this.#endLocal();
  }

  #endLocal(): void {
    if (this.#isClosed) return;
    if (!this.#isRemoteEnded) writeReset(this.#session.output, this.id, errorCode.noError);
    this.#close(false);
  }

  #close(isReset: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue?.clear();
    // Held bytes will not be read; the connection's window must not shrink by them.
    this.#session.consumed(this.#heldTo - this.#heldFrom);
    this.#dropHeld();
    this.#session.forget(this);
    this.#listener?.closed(isReset);
  }

  #hold(chunk: Buffer): void {
    const bytes = this.#heldTo - this.#heldFrom + chunk.length;
    if (this.#heldTo + chunk.length > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.#windowBytes, Math.max(2 * bytes, 1_024)));
      this.#held.copy(grown, 0, this.#heldFrom, this.#heldTo);
      this.#held = grown;
      this.#heldTo -= this.#heldFrom;
      this.#heldFrom = 0;
    }
    chunk.copy(this.#held, this.#heldTo);
    this.#heldTo += chunk.length;
  }

  #dropHeld(): void {
    this.#held = nothing;
    this.#heldFrom = 0;
    this.#heldTo = 0;
  }

  /** Opens both windows by bytes that were read; the client is told when half is used. */
  #consume(bytes: number): void {
    if (bytes === 0) return;
    this.#session.consumed(bytes);
    this.#readBytes += bytes;
    if (this.#isRemoteEnded || this.#readBytes < this.#windowBytes / 2) return;
    writeWindowUpdate(this.#session.output, this.id, this.#readBytes);
    this.#receivedBytes -= this.#readBytes;
    this.#readBytes = 0;
  }
}
