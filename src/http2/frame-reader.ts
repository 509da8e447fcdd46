// Bytes of a connection into HTTP/2 frames (RFC 9113, 4.1): the preface first, then frames. A
// frame that lies whole in one chunk is given out where it lies; only one that is split is copied,
// and never more of it than one frame may have. Not here: what a frame means.
import { broken, wrongSize } from "./breach.ts";
import { frameHeadBytes, framePayloadBytesMax, preface } from "./wire.ts";

/** The payload is `bytes` from `start` to `end`; the taker owns these bytes. */
export type TakeFrame = (
  type: number,
  flags: number,
  streamId: number,
  bytes: Buffer,
  start: number,
  end: number,
) => void;

const prefaceBytes = Buffer.from(preface, "latin1");

export class FrameReader {
  readonly #take: TakeFrame;
  /** The start of a frame that is not whole; null between frames. */
  #hold: Buffer | null = null;
  #heldBytes = 0;
  #prefaceSeen = 0;

  constructor(take: TakeFrame) {
    this.#take = take;
  }

  /** Throws ConnectionError; then the reader is not used again. */
  push(chunk: Buffer): void {
    let at = this.#skipPreface(chunk);
    if (this.#hold !== null) {
      at = this.#fill(frameHeadBytes, chunk, at);
      if (this.#heldBytes < frameHeadBytes) return;
      const frameBytes = frameHeadBytes + payloadBytes(this.#hold, 0);
      at = this.#fill(frameBytes, chunk, at);
      if (this.#heldBytes < frameBytes) return;
      const frame = this.#hold;
      this.#hold = null;
      this.#heldBytes = 0;
      this.#give(frame, 0, frameBytes);
    }
    while (chunk.length - at >= frameHeadBytes) {
      const end = at + frameHeadBytes + payloadBytes(chunk, at);
      if (end > chunk.length) break;
      this.#give(chunk, at, end);
      at = end;
    }
    if (at < chunk.length) this.#fill(chunk.length - at, chunk, at);
  }

  #skipPreface(chunk: Buffer): number {
    const expected = Math.min(prefaceBytes.length - this.#prefaceSeen, chunk.length);
    if (expected === 0) return 0;
    const wanted = prefaceBytes.subarray(this.#prefaceSeen, this.#prefaceSeen + expected);
    if (!chunk.subarray(0, expected).equals(wanted)) {
      throw broken("no preface");
    }
    this.#prefaceSeen += expected;
    return expected;
  }

  #give(bytes: Buffer, at: number, end: number): void {
    this.#take(
      bytes[at + 3] ?? 0,
      bytes[at + 4] ?? 0,
      bytes.readUInt32BE(at + 5) & 0x7fff_ffff,
      bytes,
      at + frameHeadBytes,
      end,
    );
  }

  /** Copies from `chunk` until `frameBytes` are held or it is used up; the place it came to. */
  #fill(frameBytes: number, chunk: Buffer, at: number): number {
    this.#hold ??= Buffer.allocUnsafeSlow(frameHeadBytes);
    if (this.#hold.length < frameBytes) {
      const grown = Buffer.allocUnsafeSlow(frameBytes);
      this.#hold.copy(grown, 0, 0, this.#heldBytes);
      this.#hold = grown;
    }
    const end = Math.min(chunk.length, at + frameBytes - this.#heldBytes);
    if (end <= at) return at;
    chunk.copy(this.#hold, this.#heldBytes, at, end);
    this.#heldBytes += end - at;
    return end;
  }
}

function payloadBytes(bytes: Buffer, at: number): number {
  const length = bytes.readUIntBE(at, 3);
  if (length > framePayloadBytesMax) throw wrongSize("a frame", length);
  return length;
}
