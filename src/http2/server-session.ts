// One HTTP/2 connection, server side (RFC 9113): frames in, streams out. It takes the socket after
// its first bytes, from the preface on, and knows nothing of what requests mean.
//
//   serving ── shut() ──► draining: GOAWAY, the open streams end ──► lingering ──► closed
//      └── an error of the client, or expel() ──► GOAWAY ──► lingering: what comes is dropped
//
// Everything that a client can make us hold has a bound: one frame, one header block, the windows
// of streams that are paused, answers that it does not take (Output), streams. What costs work and
// brings nothing is reported to the owner, who keeps the budgets.
//
// Not here: priorities, pushes, padding of our own, tables for our header blocks.
import type { Socket } from "node:net";
import type { Clock, Timer } from "../base/clock.ts";
import { writeGoaway, writeReset, writeSettings, writeWindowUpdate } from "./control-frames.ts";
import { FrameReader } from "./frame-reader.ts";
import { isMalformed } from "./field-check.ts";
import { HeaderGathering } from "./header-gathering.ts";
import type { RequestHead } from "./header-gathering.ts";
import type { HeaderFields } from "./hpack-decoder.ts";
import { Output } from "./output.ts";
import { ServerStream } from "./server-stream.ts";
import type { StreamListener, StreamSession } from "./server-stream.ts";
import {
  ConnectionError,
  errorCode,
  flag,
  framePayloadBytesMax,
  frameType,
  settingId,
  windowBytesDefault,
  windowBytesMax,
} from "./wire.ts";
import type { ErrorCode } from "./wire.ts";

export interface SessionLimits {
  readonly streamsPerConnectionMax: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  /** Of one request, as SETTINGS count it; a longer list resets the stream. */
  readonly headerListBytesMax: number;
  readonly headerPairsMax: number;
  /** Malformed requests and empty DATA that are tolerated on one connection. */
  readonly invalidFramesMax: number;
}

/** Who serves the requests of a connection, and judges its client. */
export interface SessionOwner {
  /** A request began. */
  opened(stream: ServerStream, fields: HeaderFields): StreamListener;
  /** SETTINGS came. */
  settled(): void;
  pinged(): void;
  /** A frame that cost us work and brought nothing. */
  idleFrame(): void;
  /** The client broke the protocol: the connection ends. */
  failed(error: ConnectionError): void;
  /** The socket is gone, and with it every stream. */
  closed(): void;
}

/** Header lists and blocks beyond this many times the limit end the connection. */
const headerExcessMax = 4;
/** Time for a client to take our last frames. */
const lingerMs = 1_000;

export class ServerSession implements StreamSession {
  readonly output: Output;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #limits: SessionLimits;
  readonly #owner: SessionOwner;
  readonly #reader: FrameReader;
  readonly #headers: HeaderGathering;
  readonly #streams = new Map<number, ServerStream>();
  /** Those that have to send and may. */
  readonly #sending = new Set<ServerStream>();
  #state: "serving" | "draining" | "lingering" | "closed" = "serving";
  #isSettled = false;
  #lastStreamId = 0;
  #sendWindow = windowBytesDefault;
  #streamSendWindow = windowBytesDefault;
  /** Received, and not yet given back to the client's window. */
  #receivedBytes = 0;
  /** Of these, those that were read. */
  #readBytes = 0;
  #invalidCount = 0;
  #awaitedPing: (() => void) | null = null;
  #lingerTimer: Timer | null = null;

  constructor(
    deps: { readonly clock: Clock; readonly owner: SessionOwner },
    socket: Socket,
    limits: SessionLimits,
  ) {
    this.#clock = deps.clock;
    this.#owner = deps.owner;
    this.#socket = socket;
    this.#limits = limits;
    this.#headers = new HeaderGathering(headerExcessMax * limits.headerListBytesMax);
    this.#reader = new FrameReader((type, flags, streamId, bytes, start, end) =>
      this.#take(type, flags, streamId, bytes, start, end),
    );
    this.output = new Output(socket, () => this.#pump());
    this.#sendSettings();
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    // No half-open connections: a client that says no more wants no answers.
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#closed());
    if (socket.destroyed) setImmediate(() => this.#closed());
    else socket.resume();
  }

  isOver(): boolean {
    return this.#state === "lingering" || this.#state === "closed";
  }

  remoteAddress(): string {
    return this.#socket.remoteAddress ?? "";
  }

  /** No new streams; the connection ends with the last of those that are open. */
  shut(): void {
    if (this.#state !== "serving") return;
    this.#state = "draining";
    writeGoaway(this.output, this.#lastStreamId, { code: errorCode.noError, text: "" });
    this.#maybeLinger();
  }

  /** Ends the connection at once, and says why. */
  expel(code: ErrorCode, text: string): void {
    if (this.isOver()) return;
    writeGoaway(this.output, this.#lastStreamId, { code, text });
    this.#linger();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** `answered` is called when the client has echoed it; one ping at a time. */
  ping(answered: () => void): void {
    this.#awaitedPing = answered;
    this.output.frame(frameType.ping, 0, 0, Buffer.alloc(8));
  }

  // What follows is called by the streams.

  sendWindow(): number {
    return this.#sendWindow;
  }

  sent(bytes: number): void {
    this.#sendWindow -= bytes;
  }

  wait(stream: ServerStream): void {
    if (!stream.isReady()) return;
    this.#sending.add(stream);
    this.#pump();
  }

  consumed(bytes: number): void {
    this.#readBytes += bytes;
    if (this.#readBytes < this.#limits.connectionWindowBytes / 2 || this.isOver()) return;
    writeWindowUpdate(this.output, 0, this.#readBytes);
    this.#receivedBytes -= this.#readBytes;
    this.#readBytes = 0;
  }

  forget(stream: ServerStream): void {
    this.#streams.delete(stream.id);
    this.#sending.delete(stream);
    this.#maybeLinger();
  }

  /** Sends what waits, a frame of each stream in turn, as far as client and socket allow. */
  #pump(): void {
    if (this.isOver()) return;
    for (const stream of this.#sending) {
      if (this.#sendWindow <= 0 || !this.output.isOpen()) return;
      this.#sending.delete(stream);
      stream.sendFrame();
      if (stream.isReady()) this.#sending.add(stream);
    }
  }

  #read(chunk: Buffer): void {
    if (this.isOver()) return;
    try {
      this.#reader.push(chunk);
      if (this.output.isStuffed()) {
        throw new ConnectionError(errorCode.enhanceYourCalm, "too_many_unread_answers");
      }
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.#owner.failed(error);
      this.expel(error.code, error.message);
    }
  }

  #take(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.isOver()) return;
    if (!this.#isSettled && type !== frameType.settings) throw broken("no SETTINGS at first");
    if (this.#headers.isOpen() && type !== frameType.continuation) {
      throw broken("a header block is interrupted");
    }
    switch (type) {
      case frameType.data:
        return this.#takeData(flags, streamId, bytes, start, end);
      case frameType.headers:
        return this.#openStream(this.#headers.headers(flags, streamId, bytes, start, end));
      case frameType.continuation:
        this.#owner.idleFrame();
        return this.#openStream(this.#headers.continuation(flags, streamId, bytes, start, end));
      case frameType.reset:
        return this.#takeReset(streamId, end - start);
      case frameType.settings:
        return this.#takeSettings(flags, streamId, bytes, start, end);
      case frameType.ping:
        return this.#takePing(flags, streamId, bytes, start, end);
      case frameType.windowUpdate:
        return this.#takeWindowUpdate(streamId, bytes, start, end);
      case frameType.goaway:
        if (streamId !== 0) throw broken("GOAWAY on a stream");
        return;
      case frameType.pushPromise:
        throw broken("PUSH_PROMISE from a client");
      default:
        // PRIORITY, and what later versions may bring.
        this.#owner.idleFrame();
    }
  }

  #takeData(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const frameBytes = end - start;
    const stream = this.#streamOf(streamId, "DATA");
    const padding = (flags & flag.padded) === 0 ? 0 : 1 + (bytes[start] ?? frameBytes);
    if (padding > frameBytes) throw broken("more padding than payload");
    this.#receivedBytes += frameBytes;
    if (this.#receivedBytes > Math.max(this.#limits.connectionWindowBytes, windowBytesDefault)) {
      throw new ConnectionError(errorCode.flowControlError, "more DATA than the window allows");
    }
    if (stream === null || stream.isRemoteEnded()) {
      this.consumed(frameBytes);
      this.#owner.idleFrame();
      return;
    }
    const isEnd = (flags & flag.endStream) !== 0;
    const from = start + Math.min(padding, 1);
    const chunk = bytes.subarray(from, from + frameBytes - padding);
    if (chunk.length === 0 && !isEnd) this.#countInvalid();
    if (!stream.maybeReceive(chunk, frameBytes)) stream.reset(errorCode.flowControlError);
    else if (isEnd && !stream.isClosed()) stream.endRemote();
  }

  #openStream(head: RequestHead | null): void {
    if (head === null) return;
    const { streamId, fields, isEndOfStream } = head;
    if (streamId % 2 === 0) throw broken("HEADERS on a stream that is not a client's");
    if (streamId <= this.#lastStreamId) {
      this.#takeTrailers(streamId, isEndOfStream);
      return;
    }
    this.#lastStreamId = streamId;
    const refusal = this.#refusalOf(head);
    if (refusal !== null) {
      if (refusal !== errorCode.refusedStream) this.#countInvalid();
      this.#owner.idleFrame();
      writeReset(this.output, streamId, refusal);
      return;
    }
    const stream = new ServerStream(this, streamId, {
      send: this.#streamSendWindow,
      receive: Math.max(this.#limits.streamWindowBytes, windowBytesDefault),
    });
    this.#streams.set(streamId, stream);
    stream.listen(this.#owner.opened(stream, fields));
    if (isEndOfStream && !stream.isClosed()) stream.endRemote();
  }

  #refusalOf({ fields, listBytes }: RequestHead): ErrorCode | null {
    const { streamsPerConnectionMax, headerListBytesMax, headerPairsMax } = this.#limits;
    if (this.#state !== "serving" || this.#streams.size >= streamsPerConnectionMax) {
      return errorCode.refusedStream;
    }
    if (listBytes > headerListBytesMax || fields.length > 2 * headerPairsMax) {
      return errorCode.enhanceYourCalm;
    }
    return isMalformed(fields) ? errorCode.protocolError : null;
  }

  #countInvalid(): void {
    this.#invalidCount += 1;
    if (this.#invalidCount <= this.#limits.invalidFramesMax) return;
    throw new ConnectionError(errorCode.enhanceYourCalm, "too_many_invalid_frames");
  }

  /** A second header block is the end of a request body; gRPC clients send none, and none is
   * read. */
  #takeTrailers(streamId: number, isEnd: boolean): void {
    this.#owner.idleFrame();
    const stream = this.#streams.get(streamId);
    if (stream === undefined || stream.isRemoteEnded()) return;
    if (isEnd) stream.endRemote();
    else stream.reset(errorCode.protocolError);
  }

  #takeReset(streamId: number, payloadBytes: number): void {
    if (payloadBytes !== 4) throw wrongSize("RST_STREAM", payloadBytes);
    const stream = this.#streamOf(streamId, "RST_STREAM");
    if (stream === null) this.#owner.idleFrame();
    else stream.abort();
  }

  #takeSettings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw broken("SETTINGS on a stream");
    if ((flags & flag.ack) !== 0) {
      if (end !== start) throw wrongSize("SETTINGS", end - start);
      return;
    }
    if ((end - start) % 6 !== 0) throw wrongSize("SETTINGS", end - start);
    for (let at = start; at < end; at += 6) {
      this.#apply(bytes.readUInt16BE(at), bytes.readUInt32BE(at + 2));
    }
    this.#isSettled = true;
    this.output.frameHead(0, frameType.settings, flag.ack, 0);
    this.#owner.settled();
  }

  /** Of what a client may ask, only its windows concern us: our frames and blocks are always
   * within what every client takes. */
  #apply(setting: number, value: number): void {
    if (setting === settingId.maxFrameSize && (value < framePayloadBytesMax || value > 2 ** 24)) {
      throw broken(`a frame size of ${value}`);
    }
    if (setting !== settingId.initialWindowSize) return;
    if (value > windowBytesMax) {
      throw new ConnectionError(errorCode.flowControlError, `a window of ${value}`);
    }
    const change = value - this.#streamSendWindow;
    this.#streamSendWindow = value;
    for (const stream of this.#streams.values()) this.#widen(stream, change);
  }

  #takePing(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw broken("PING on a stream");
    if (end - start !== 8) throw wrongSize("PING", end - start);
    if ((flags & flag.ack) !== 0) {
      const answered = this.#awaitedPing;
      this.#awaitedPing = null;
      answered?.();
      return;
    }
    this.output.frame(frameType.ping, flag.ack, 0, bytes.subarray(start, end));
    this.#owner.pinged();
  }

  #takeWindowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw wrongSize("WINDOW_UPDATE", end - start);
    const more = bytes.readUInt32BE(start) & 0x7fff_ffff;
    if (streamId === 0) {
      if (more === 0) throw broken("a WINDOW_UPDATE of 0");
      this.#sendWindow += more;
      if (this.#sendWindow > windowBytesMax) {
        throw new ConnectionError(errorCode.flowControlError, "a window beyond 2^31-1");
      }
      this.#pump();
      return;
    }
    const stream = this.#streamOf(streamId, "WINDOW_UPDATE");
    if (stream === null) return;
    if (more === 0) stream.reset(errorCode.protocolError);
    else this.#widen(stream, more);
  }

  #widen(stream: ServerStream, bytes: number): void {
    if (!stream.maybeWiden(bytes, windowBytesMax)) stream.reset(errorCode.flowControlError);
  }

  /** Null: the stream is closed. */
  #streamOf(streamId: number, frame: string): ServerStream | null {
    if (streamId === 0 || streamId > this.#lastStreamId) {
      throw broken(`${frame} on a stream that is not open`);
    }
    return this.#streams.get(streamId) ?? null;
  }

  #sendSettings(): void {
    const { streamsPerConnectionMax, streamWindowBytes, connectionWindowBytes } = this.#limits;
    writeSettings(this.output, [
      [settingId.maxConcurrentStreams, streamsPerConnectionMax],
      [settingId.initialWindowSize, streamWindowBytes],
      [settingId.maxHeaderListSize, this.#limits.headerListBytesMax],
    ]);
    const more = connectionWindowBytes - windowBytesDefault;
    if (more > 0) writeWindowUpdate(this.output, 0, more);
  }

  #maybeLinger(): void {
    if (this.#state === "draining" && this.#streams.size === 0) this.#linger();
  }

  /** Our last frames leave, and what still comes is dropped: a socket closed on unread bytes
   * would take these frames back. */
  #linger(): void {
    this.output.flush();
    this.#state = "lingering";
    for (const stream of this.#streams.values()) stream.abort();
    this.#socket.end();
    this.#lingerTimer = this.#clock.after(lingerMs, () => this.#socket.destroy());
  }

  #closed(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#lingerTimer?.cancel();
    for (const stream of this.#streams.values()) stream.abort();
    this.#owner.closed();
  }
}

function broken(what: string): ConnectionError {
  return new ConnectionError(errorCode.protocolError, `protocol error: ${what}`);
}

function wrongSize(frame: string, payloadBytes: number): ConnectionError {
  return new ConnectionError(errorCode.frameSizeError, `${frame} of ${payloadBytes} bytes`);
}
