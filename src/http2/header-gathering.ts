// HEADERS and the CONTINUATION frames behind them into one header list (RFC 9113, 4.3): padding
// and priorities are skipped, the block is decoded when it is whole. Between the first frame and
// the last nothing else may come, and the block may not grow beyond `blockBytesMax`.
import { broken, tooMuch } from "./breach.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import type { HeaderFields } from "./hpack-decoder.ts";
import { flag } from "./wire.ts";

export interface RequestHead {
  readonly streamId: number;
  readonly isEndOfStream: boolean;
  readonly fields: HeaderFields;
  /** As SETTINGS count a list. */
  readonly listBytes: number;
}

const priorityBytes = 5;

export class HeaderGathering {
  readonly #blockBytesMax: number;
  readonly #decoder: HpackDecoder;
  #open: { readonly streamId: number; readonly flags: number } | null = null;
  #block: Buffer[] = [];
  #blockBytes = 0;

  /** Beyond this many bytes, as sent or as decoded, the connection ends. */
  constructor(blockBytesMax: number) {
    this.#blockBytesMax = blockBytesMax;
    this.#decoder = new HpackDecoder(blockBytesMax);
  }

  /** More frames of a block must come, and no others. */
  isOpen(): boolean {
    return this.#open !== null;
  }

  /** Null: more is to come. Throws ConnectionError. */
  headers(
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): RequestHead | null {
    let from = start;
    let to = end;
    if ((flags & flag.padded) !== 0) {
      to -= bytes[from] ?? 0;
      from += 1;
    }
    if ((flags & flag.priority) !== 0) from += priorityBytes;
    if (from > to) {
      throw broken("more padding than payload");
    }
    if ((flags & flag.endHeaders) !== 0) return this.#decode(streamId, flags, bytes, from, to);
    this.#open = { streamId, flags };
    this.#gather(bytes, from, to);
    return null;
  }

  /** Null: more is to come. Throws ConnectionError. */
  continuation(
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): RequestHead | null {
    const open = this.#open;
    if (open === null || open.streamId !== streamId) {
      throw broken("CONTINUATION of nothing");
    }
    this.#gather(bytes, start, end);
    if ((flags & flag.endHeaders) === 0) return null;
    const whole = Buffer.concat(this.#block);
    this.#open = null;
    this.#block = [];
    this.#blockBytes = 0;
    return this.#decode(streamId, open.flags, whole, 0, whole.length);
  }

  #gather(bytes: Buffer, from: number, to: number): void {
    this.#block.push(Buffer.from(bytes.subarray(from, to)));
    this.#blockBytes += to - from;
    if (this.#blockBytes <= this.#blockBytesMax) return;
    throw tooMuch("header_list_too_large");
  }

  #decode(streamId: number, flags: number, bytes: Buffer, from: number, to: number): RequestHead {
    return {
      streamId,
      isEndOfStream: (flags & flag.endStream) !== 0,
      fields: this.#decoder.decode(bytes, from, to),
      listBytes: this.#decoder.listBytes(),
    };
  }
}
