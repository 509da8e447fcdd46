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
import { HeldBody } from "./held-body.ts";
import type { Output } from "./output.ts";
import { ReceiveWindow } from "./receive-window.ts";
import { SendQueue } from "./send-queue.ts";
import type { Sender, SendTurns } from "./send-turns.ts";
import { errorCode, framePayloadBytesMax, frameType, windowBytesMax } from "./wire.ts";
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
  readonly turns: SendTurns;
  /** Received bytes that were read: the connection's window opens by them. */
  consumed(bytes: number): void;
  forget(stream: ServerStream): void;
}

export class ServerStream implements Sender {
  readonly id: number;
  readonly #session: StreamSession;
  #listener: StreamListener | null = null;
  /** Body bytes that the client takes; below zero when it took back what it had allowed. */
  #sendWindow: number;
  #queue: SendQueue | null = null;
  /** Waits for the queue to be sent. */
  #trailers: Uint8Array | null = null;
  #hasResponded = false;
  #isRemoteEnded = false;
  #isClosed = false;
  readonly #receiveWindow: ReceiveWindow;
  #isPaused = false;
  #held: HeldBody | null = null;
  /** The body is whole, and some of it is held. */
  #isFinishHeld = false;

  constructor(
    session: StreamSession,
    id: number,
    windows: { readonly send: number; readonly receive: number },
  ) {
    this.#session = session;
    this.id = id;
    this.#sendWindow = windows.send;
    this.#receiveWindow = new ReceiveWindow(windows.receive);
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
    const { output, turns } = this.#session;
    let bytes = 0;
    for (const piece of pieces) bytes += piece.length;
    if (this.queuedBytes() === 0 && bytes <= this.#frameBytesMax(turns.roomBytes())) {
      output.frameHead(bytes, frameType.data, 0, this.id);
      for (const piece of pieces) output.bytes(piece);
      this.#countSent(bytes);
      return;
    }
    this.#queue ??= new SendQueue();
    for (const piece of pieces) this.#queue.push(piece);
    turns.wait(this);
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
    const held = this.#held;
    if (held === null) return;
    while (held.length() > 0 && !this.#isPaused) {
      const chunk = held.take(framePayloadBytesMax);
      this.#consume(chunk.length);
      this.#listener?.read(chunk);
    }
    if (held.length() > 0 || !this.#isFinishHeld || this.#isClosed) return;
    this.#isFinishHeld = false;
    this.#listener?.finish();
  }

  // What follows is called by the connection.

  isReady(): boolean {
    return this.queuedBytes() > 0 && this.#sendWindow > 0;
  }

  sendFrame(bytesMax: number): void {
    const bytes = Math.min(this.queuedBytes(), this.#frameBytesMax(bytesMax));
    if (bytes <= 0 || this.#queue === null) return;
    this.#session.output.frameHead(bytes, frameType.data, 0, this.id);
    this.#queue.take(bytes, this.#session.output);
    this.#countSent(bytes);
    this.#listener?.drained();
    this.#maybeEnd();
  }

  /** The client's window for this stream changed; false: beyond what the protocol allows. */
  maybeWiden(bytes: number): boolean {
    this.#sendWindow += bytes;
    if (this.#sendWindow > windowBytesMax) return false;
    this.#session.turns.wait(this);
    return true;
  }

  /** Body bytes came, `frameBytes` with their padding; false: more than was allowed. */
  maybeReceive(chunk: Buffer, frameBytes: number): boolean {
    if (!this.#receiveWindow.maybeReceive(frameBytes)) return false;
    if (this.#isPaused) {
      this.#held ??= new HeldBody();
      this.#held.push(chunk);
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
    if (this.#heldBytes() > 0) this.#isFinishHeld = true;
    else this.#listener?.finish();
  }

  /** The client reset it, or the connection is gone. */
  abort(): void {
    this.#close(true);
  }

  #heldBytes(): number {
    return this.#held?.length() ?? 0;
  }

  #frameBytesMax(roomBytes: number): number {
    return Math.min(this.#sendWindow, roomBytes, framePayloadBytesMax);
  }

  #countSent(bytes: number): void {
    this.#sendWindow -= bytes;
    this.#session.turns.sent(bytes);
  }

  #maybeEnd(): void {
    if (this.#isClosed || this.#trailers === null || this.queuedBytes() > 0) return;
    this.#session.output.headers(this.id, true, this.#trailers);
    this.#endLocal();
  }

  #endLocal(): void {
    if (!this.#isRemoteEnded) writeReset(this.#session.output, this.id, errorCode.noError);
    this.#close(false);
  }

  #close(isReset: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue?.clear();
    // Held bytes will not be read; the connection's window must not shrink by them.
    this.#session.consumed(this.#heldBytes());
    this.#held?.clear();
    this.#session.forget(this);
    this.#listener?.closed(isReset);
  }

  /** Opens both windows by bytes that were read. */
  #consume(bytes: number): void {
    this.#session.consumed(bytes);
    const given = this.#receiveWindow.read(bytes);
    if (given > 0 && !this.#isRemoteEnded) {
      writeWindowUpdate(this.#session.output, this.id, given);
    }
  }
}
