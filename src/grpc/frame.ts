// The length-prefixed messages of gRPC: one byte of flags, four of length, the message. DATA
// boundaries mean nothing: a message may span many chunks and a chunk may hold many messages.
//
// A message that lies whole in one chunk is given out as a view of it; only what is split is
// copied, into a buffer that grows with the bytes that came and never with the length that was
// announced (a head that promises 2 MiB costs nothing).
import { grpcStatus, RequestError } from "../base/errors.ts";

export const frameHeadBytes = 5;
/** First allocation for a split message; it grows fourfold from here, each a copy and garbage. */
const holdBytesMin = 1_024;
const nothing = Buffer.alloc(0);

export class FrameDecoder {
  readonly #messageBytesMax: number;
  /** The start of an unfinished frame, `#heldBytes` long; empty between frames. */
  #hold: Buffer = nothing;
  #heldBytes = 0;

  constructor(messageBytesMax: number) {
    this.#messageBytesMax = messageBytesMax;
  }

  /** Bytes of an unfinished frame; 0 exactly at a frame's end. */
  heldBytes(): number {
    return this.#heldBytes;
  }

  /** Calls `take` for each message that is whole now, in order; it owns what it gets. Throws
   * RequestError for a frame that is refused: the decoder is not used again. */
  push(chunk: Buffer, take: (message: Uint8Array) => void): void {
    let at = 0;
    if (this.#heldBytes > 0) {
      at = this.#holdUpTo(frameHeadBytes, chunk, 0);
      if (this.#heldBytes < frameHeadBytes) return;
      const frameBytes = frameHeadBytes + this.#messageBytes(this.#hold, 0);
      at = this.#holdUpTo(frameBytes, chunk, at);
      if (this.#heldBytes < frameBytes) return;
      const message = this.#hold.subarray(frameHeadBytes, frameBytes);
      this.#hold = nothing;
      this.#heldBytes = 0;
      take(message);
    }
    while (chunk.length - at >= frameHeadBytes) {
      const end = at + frameHeadBytes + this.#messageBytes(chunk, at);
      if (end > chunk.length) break;
      take(chunk.subarray(at + frameHeadBytes, end));
      at = end;
    }
    if (at < chunk.length) this.#holdUpTo(chunk.length - at, chunk, at);
  }

  /** Copies from `chunk` until `holdBytes` are held or it is used up; the place it came to. */
  #holdUpTo(holdBytes: number, chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + Math.max(0, holdBytes - this.#heldBytes));
    const total = this.#heldBytes + end - at;
    if (total > this.#hold.length) {
      const wanted = Math.min(4 * this.#hold.length, holdBytes);
      const grown = Buffer.allocUnsafeSlow(Math.max(total, wanted, holdBytesMin));
      this.#hold.copy(grown, 0, 0, this.#heldBytes);
      this.#hold = grown;
    }
    chunk.copy(this.#hold, this.#heldBytes, at, end);
    this.#heldBytes = total;
    return end;
  }

  /** The length that the head at `at` announces, checked; texts as grpc-go. */
  #messageBytes(bytes: Buffer, at: number): number {
    const flags = bytes.readUInt8(at);
    if (flags === 1) {
      throw RequestError.worded(
        grpcStatus.internal,
        "grpc: compressed flag set with identity or empty encoding",
      );
    }
    if (flags !== 0) {
      throw RequestError.worded(
        grpcStatus.internal,
        `grpc: received unexpected payload format ${flags}`,
      );
    }
    const messageBytes = bytes.readUInt32BE(at + 1);
    if (messageBytes > this.#messageBytesMax) {
      throw RequestError.worded(
        grpcStatus.resourceExhausted,
        `grpc: received message larger than max (${messageBytes} vs. ${this.#messageBytesMax})`,
      );
    }
    return messageBytes;
  }
}

/** The head of a message of this length, written into `target`. */
export function writeFrameHead(target: Buffer, at: number, messageBytes: number): void {
  target[at] = 0;
  target.writeUInt32BE(messageBytes, at + 1);
}

let newestHead = nothing;
let newestHeadBytes = -1;

/** The head of a message of this length; never changed. Thousands of streams that get one message
 * share one. */
export function sharedFrameHead(messageBytes: number): Uint8Array {
  if (messageBytes !== newestHeadBytes) {
    newestHead = Buffer.allocUnsafeSlow(frameHeadBytes);
    writeFrameHead(newestHead, 0, messageBytes);
    newestHeadBytes = messageBytes;
  }
  return newestHead;
}
