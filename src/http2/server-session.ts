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
// A client that breaks the protocol on one stream loses the connection, as RFC 9113, 5.4.2 allows:
// no client that works does it, and resets that a client can provoke would be streams that it
// leaves without paying for them from the budget of its own resets.
//
// Not here: priorities, pushes, padding of our own, tables for our header blocks.
import type { Socket } from "node:net";
import { assert } from "../base/assert.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { afterEnd, broken, tooMuch, tooMuchData, tooWide, wrongSize } from "./breach.ts";
import { readStreamWindow } from "./client-settings.ts";
import { writeGoaway, writeReset, writeSettings, writeWindowUpdate } from "./control-frames.ts";
import { FrameReader } from "./frame-reader.ts";
import { isMalformed } from "./field-check.ts";
import { HeaderGathering } from "./header-gathering.ts";
import type { RequestHead } from "./header-gathering.ts";
import type { HeaderFields } from "./hpack-decoder.ts";
import { Output } from "./output.ts";
import { ReceiveWindow } from "./receive-window.ts";
import { SendTurns } from "./send-turns.ts";
import { ServerStream } from "./server-stream.ts";
import type { StreamListener, StreamSession } from "./server-stream.ts";
import {
  ConnectionError,
  errorCode,
  flag,
  frameType,
  settingId,
  windowBytesDefault,
} from "./wire.ts";
import type { ErrorCode } from "./wire.ts";

export interface SessionLimits {
  readonly streamsPerConnectionMax: number;
  /** Not below what the protocol gives before any SETTINGS, 65,535. */
  readonly streamWindowBytes: number;
  /** The same. */
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
/** Time for the rest of a header block that came in pieces. */
const headerBlockMs = 10_000;
/** Time for a client to take our last frames. */
const lingerMs = 1_000;
/** A read as large as this fills what Node reads into: more is waiting, and others come first. */
const fullReadBytes = 65_536;
/** DATA for a stream that is closed costs less than it brought when it is as large as this: a
 * client that sends a large body to a call that ended early means no harm. */
const lateDataBytesMin = 1_024;

export class ServerSession implements StreamSession {
  readonly output: Output;
  readonly turns: SendTurns;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #limits: SessionLimits;
  readonly #owner: SessionOwner;
  readonly #reader: FrameReader;
  readonly #headers: HeaderGathering;
  readonly #receiveWindow: ReceiveWindow;
  readonly #streams = new Map<number, ServerStream>();
  #state: "serving" | "draining" | "lingering" | "closed" = "serving";
  #isSettled = false;
  /** The client acknowledged our SETTINGS. */
  #isAcknowledged = false;
  /** The highest of the client's, taken or refused. */
  #lastStreamId = 0;
  /** What our first GOAWAY named; no later one may name a higher. */
  #goawayStreamId: number | null = null;
  /** Of streams to come. */
  #streamSendWindow = windowBytesDefault;
  #invalidCount = 0;
  #awaitedPing: (() => void) | null = null;
  #headerBlockTimer: Timer | null = null;
  #lingerTimer: Timer | null = null;

  constructor(
    deps: { readonly clock: Clock; readonly owner: SessionOwner },
    socket: Socket,
    limits: SessionLimits,
  ) {
    const { streamWindowBytes, connectionWindowBytes } = limits;
    assert(
      Math.min(streamWindowBytes, connectionWindowBytes) >= windowBytesDefault,
      "a window below what the protocol begins with",
    );
    this.#clock = deps.clock;
    this.#owner = deps.owner;
    this.#socket = socket;
    this.#limits = limits;
    this.#receiveWindow = new ReceiveWindow(connectionWindowBytes);
    this.#headers = new HeaderGathering(headerExcessMax * limits.headerListBytesMax);
    this.#reader = new FrameReader((type, flags, streamId, bytes, start, end) =>
      this.#take(type, flags, streamId, bytes, start, end),
    );
    this.output = new Output(socket, () => this.turns.go());
    this.turns = new SendTurns(this.output);
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
    this.#sayGoodbye(errorCode.noError, "");
    this.#maybeLinger();
  }

  /** Ends the connection at once, and says why. */
  expel(code: ErrorCode, text: string): void {
    if (this.isOver()) return;
    this.#sayGoodbye(code, text);
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

  consumed(bytes: number): void {
    const given = this.#receiveWindow.read(bytes);
    if (given > 0 && !this.isOver()) writeWindowUpdate(this.output, 0, given);
  }

  forget(stream: ServerStream): void {
    this.#streams.delete(stream.id);
    this.turns.leave(stream);
    this.#maybeLinger();
  }

  #read(chunk: Buffer): void {
    if (this.isOver()) return;
    try {
      this.#reader.push(chunk);
      if (this.output.isStuffed()) {
        throw tooMuch("too_many_unread_answers");
      }
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      this.#fail(error);
    }
    if (chunk.length >= fullReadBytes) this.#yield();
  }

  #fail(error: ConnectionError): void {
    this.#owner.failed(error);
    this.expel(error.code, error.message);
  }

  /** Reads on in a later turn: a client that sends as fast as we read must not keep the process. */
  #yield(): void {
    this.#socket.pause();
    setImmediate(() => this.#socket.resume());
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
        return this.#takeHead(this.#headers.headers(flags, streamId, bytes, start, end));
      case frameType.continuation:
        this.#owner.idleFrame();
        return this.#takeHead(this.#headers.continuation(flags, streamId, bytes, start, end));
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
        if (end - start < 8) throw wrongSize("GOAWAY", end - start);
        return this.#owner.idleFrame();
      case frameType.pushPromise:
        throw broken("PUSH_PROMISE from a client");
      case frameType.priority:
        if (streamId === 0) throw broken("PRIORITY of no stream");
        if (end - start !== 5) throw wrongSize("PRIORITY", end - start);
        return this.#owner.idleFrame();
      default:
        // What later versions may bring.
        this.#owner.idleFrame();
    }
  }

  #takeData(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const frameBytes = end - start;
    const stream = this.#streamOf(streamId, "DATA");
    const padding = (flags & flag.padded) === 0 ? 0 : 1 + (bytes[start] ?? 0);
    if (padding > frameBytes) throw broken("more padding than payload");
    if (!this.#receiveWindow.maybeReceive(frameBytes)) throw tooMuchData();
    if (stream === null) {
      this.consumed(frameBytes);
      if (frameBytes < lateDataBytesMin) this.#owner.idleFrame();
      return;
    }
    if (stream.isRemoteEnded()) throw afterEnd("DATA");
    const isEnd = (flags & flag.endStream) !== 0;
    const from = start + Math.min(padding, 1);
    const chunk = bytes.subarray(from, from + frameBytes - padding);
    if (chunk.length === 0 && !isEnd) this.#countInvalid();
    if (!stream.maybeReceive(chunk, frameBytes)) throw tooMuchData();
    if (isEnd && !stream.isClosed()) stream.endRemote();
  }

  /** Null: more of a header block is to come. */
  #takeHead(head: RequestHead | null): void {
    if (head === null) {
      this.#headerBlockTimer ??= this.#clock.after(headerBlockMs, () =>
        this.#fail(tooMuch("header_block_timeout")),
      );
      return;
    }
    this.#headerBlockTimer?.cancel();
    this.#headerBlockTimer = null;
    const { streamId, isEndOfStream } = head;
    if (streamId % 2 === 0) throw broken("HEADERS on a stream that is not a client's");
    if (streamId > this.#lastStreamId) this.#openStream(head);
    else this.#takeTrailers(streamId, isEndOfStream);
  }

  #openStream(head: RequestHead): void {
    const { streamId, fields, isEndOfStream } = head;
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
      receive: this.#limits.streamWindowBytes,
    });
    this.#streams.set(streamId, stream);
    this.turns.opened();
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
    throw tooMuch("too_many_invalid_frames");
  }

  /** A second header block is the end of a request body; gRPC clients send none, and none is
   * read. */
  #takeTrailers(streamId: number, isEnd: boolean): void {
    this.#owner.idleFrame();
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    if (stream.isRemoteEnded()) throw afterEnd("HEADERS");
    if (!isEnd) throw broken("HEADERS in the middle of a request");
    stream.endRemote();
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
      if (this.#isAcknowledged) this.#owner.idleFrame();
      this.#isAcknowledged = true;
      return;
    }
    const windowBytes = readStreamWindow(bytes, start, end);
    if (windowBytes !== null) {
      const change = windowBytes - this.#streamSendWindow;
      this.#streamSendWindow = windowBytes;
      for (const stream of this.#streams.values()) this.#widen(stream, change);
    }
    this.#isSettled = true;
    this.output.frameHead(0, frameType.settings, flag.ack, 0);
    this.#owner.settled();
  }

  #takePing(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw broken("PING on a stream");
    if (end - start !== 8) throw wrongSize("PING", end - start);
    if ((flags & flag.ack) !== 0) {
      const answered = this.#awaitedPing;
      this.#awaitedPing = null;
      if (answered === null) this.#owner.idleFrame();
      else answered();
      return;
    }
    this.output.frame(frameType.ping, flag.ack, 0, bytes.subarray(start, end));
    this.#owner.pinged();
  }

  #takeWindowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw wrongSize("WINDOW_UPDATE", end - start);
    const more = bytes.readUInt32BE(start) & 0x7fff_ffff;
    if (more === 0) throw broken("a WINDOW_UPDATE of 0");
    if (!this.turns.maybeExpectUpdate()) this.#owner.idleFrame();
    if (streamId === 0) {
      if (!this.turns.maybeWiden(more)) throw tooWide();
      return;
    }
    const stream = this.#streamOf(streamId, "WINDOW_UPDATE");
    if (stream !== null) this.#widen(stream, more);
  }

  #widen(stream: ServerStream, bytes: number): void {
    if (!stream.maybeWiden(bytes)) throw tooWide();
  }

  /** Null: the stream is closed. */
  #streamOf(streamId: number, frame: string): ServerStream | null {
    if (streamId % 2 === 0 || streamId > this.#lastStreamId) {
      throw broken(`${frame} on a stream that is not open`);
    }
    return this.#streams.get(streamId) ?? null;
  }

  #sayGoodbye(code: ErrorCode, text: string): void {
    this.#goawayStreamId ??= this.#lastStreamId;
    writeGoaway(this.output, this.#goawayStreamId, { code, text });
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
    this.#abortAll();
    this.#socket.end();
    this.#lingerTimer = this.#clock.after(lingerMs, () => this.#socket.destroy());
  }

  #closed(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#lingerTimer?.cancel();
    this.#abortAll();
    this.#owner.closed();
  }

  #abortAll(): void {
    this.#headerBlockTimer?.cancel();
    for (const stream of this.#streams.values()) stream.abort();
  }
}
