// What leaves a connection: frames gather and go to the socket as one write, after everything that
// this turn of the process had to say. Small pieces are copied together; large ones are passed on
// as they are, so that a value that many streams send exists once.
//
// The gate: while the socket has `socketBytesMax` of ours that the client has not taken, no stream
// may add more. Control frames pass it; who makes us answer more of them than it reads is cut.
import type { Socket } from "node:net";
import { noTable } from "./header-block.ts";
import { flag, frameHeadBytes, framePayloadBytesMax, frameType } from "./wire.ts";

/** From this size a piece is passed on instead of copied. */
const shareBytesMin = 4_096;
const blockBytesMin = 1_024;
const blockBytesMax = 65_536;
/** One socket's share of what waits for slow clients. */
const socketBytesMax = 65_536;
const controlBytesMax = 1_048_576;
const nothing = Buffer.alloc(0);

export class Output {
  readonly #socket: Socket;
  readonly #opened: () => void;
  #pieces: Uint8Array[] = [];
  #block: Buffer = nothing;
  /** What is used of the block, and what of it is in `#pieces`. */
  #used = 0;
  #given = 0;
  /** Of this turn. */
  #bytes = 0;
  #blockBytes = blockBytesMin;
  #isDue = false;
  #hasSentBlock = false;
  #isShut = false;

  /** `opened`: a gate that was found shut is open again. */
  constructor(socket: Socket, opened: () => void) {
    this.#socket = socket;
    this.#opened = opened;
    socket.on("drain", () => this.#reopen());
  }

  isOpen(): boolean {
    if (this.#bytes < socketBytesMax && !this.#isHeldBack()) return true;
    this.#isShut = true;
    return false;
  }

  /** More waits than any reading client leaves. */
  isStuffed(): boolean {
    return this.#socket.writableLength + this.#bytes > controlBytesMax;
  }

  frameHead(payloadBytes: number, type: number, flags: number, streamId: number): void {
    const at = this.#room(frameHeadBytes);
    const block = this.#block;
    block.writeUIntBE(payloadBytes, at, 3);
    block[at + 3] = type;
    block[at + 4] = flags;
    block.writeUInt32BE(streamId, at + 5);
  }

  frame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    this.frameHead(payload.length, type, flags, streamId);
    this.bytes(payload);
  }

  /** A header block, in as many frames as it takes. */
  headers(streamId: number, isEndOfStream: boolean, block: Uint8Array): void {
    const whole = this.#hasSentBlock ? block : Buffer.concat([noTable, block]);
    this.#hasSentBlock = true;
    const endStream = isEndOfStream ? flag.endStream : 0;
    if (whole.length <= framePayloadBytesMax) {
      this.frame(frameType.headers, endStream + flag.endHeaders, streamId, whole);
      return;
    }
    for (let at = 0; at < whole.length; at += framePayloadBytesMax) {
      const part = whole.subarray(at, at + framePayloadBytesMax);
      const isLast = at + part.length === whole.length;
      const type = at === 0 ? frameType.headers : frameType.continuation;
      const flags = (at === 0 ? endStream : 0) + (isLast ? flag.endHeaders : 0);
      this.frame(type, flags, streamId, part);
    }
  }

  bytes(piece: Uint8Array): void {
    if (piece.length < shareBytesMin) {
      const at = this.#room(piece.length);
      this.#block.set(piece, at);
      return;
    }
    this.#give();
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    this.#schedule();
  }

  /** Hands everything to the socket now. */
  flush(): void {
    this.#isDue = false;
    this.#give();
    const pieces = this.#pieces;
    if (pieces.length === 0) return;
    // The next turn will be about as large.
    this.#blockBytes = Math.min(blockBytesMax, Math.max(blockBytesMin, this.#bytes));
    this.#pieces = [];
    this.#block = nothing;
    this.#used = 0;
    this.#given = 0;
    this.#bytes = 0;
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    if (pieces.length > 1) socket.cork();
    for (const piece of pieces) socket.write(piece);
    if (pieces.length > 1) socket.uncork();
    if (!this.#isHeldBack()) this.#reopen();
  }

  /** By what the client has not taken; the socket will say when it has. */
  #isHeldBack(): boolean {
    const { writableLength, writableNeedDrain } = this.#socket;
    return writableNeedDrain && writableLength + this.#bytes >= socketBytesMax;
  }

  #reopen(): void {
    if (!this.#isShut) return;
    this.#isShut = false;
    // In a later turn: a client that reads as fast as we write must not keep the process.
    setImmediate(this.#opened);
  }

  /** A place for so many bytes in the block. */
  #room(bytes: number): number {
    if (this.#used + bytes > this.#block.length) {
      this.#give();
      this.#block = Buffer.allocUnsafe(Math.max(bytes, this.#blockBytes));
      this.#used = 0;
      this.#given = 0;
    }
    const at = this.#used;
    this.#used += bytes;
    this.#bytes += bytes;
    this.#schedule();
    return at;
  }

  #give(): void {
    if (this.#given === this.#used) return;
    this.#pieces.push(this.#block.subarray(this.#given, this.#used));
    this.#given = this.#used;
  }

  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    // After the promises that this turn of the process settles, and before it waits for anything.
    process.nextTick(() => this.flush());
  }
}
