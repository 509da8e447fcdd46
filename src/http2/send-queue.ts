// The body that one stream still has to send: pieces in order, taken in frames as flow control
// allows. Pieces are kept as given, so that one that thousands of streams send exists once.
import { assert } from "../base/assert.ts";
import type { Output } from "./output.ts";

const nothing = Buffer.alloc(0);

export class SendQueue {
  #pieces: Uint8Array[] = [];
  /** Places of sent pieces, which hold nothing, and sent bytes of the piece behind them. */
  #sentPieces = 0;
  #sentBytes = 0;
  #bytes = 0;

  bytes(): number {
    return this.#bytes;
  }

  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
  }

  /** Gives exactly so many of its bytes to the output. */
  take(bytes: number, output: Output): void {
    assert(bytes <= this.#bytes, "more is sent than a stream has");
    this.#bytes -= bytes;
    let left = bytes;
    while (left > 0) {
      const piece = this.#pieces[this.#sentPieces];
      assert(piece !== undefined, "a send queue miscounts its bytes");
      const end = Math.min(piece.length, this.#sentBytes + left);
      left -= end - this.#sentBytes;
      const isWhole = end === piece.length;
      output.bytes(isWhole && this.#sentBytes === 0 ? piece : piece.subarray(this.#sentBytes, end));
      this.#sentBytes = isWhole ? 0 : end;
      if (isWhole) this.#pieces[this.#sentPieces++] = nothing;
    }
    this.#dropSent();
  }

  clear(): void {
    this.#pieces = [];
    this.#sentPieces = 0;
    this.#sentBytes = 0;
    this.#bytes = 0;
  }

  /** When half of the places are sent: a client that takes a byte at a time must not make us move
   * thousands of pieces for each. */
  #dropSent(): void {
    if (2 * this.#sentPieces < this.#pieces.length) return;
    this.#pieces = this.#pieces.slice(this.#sentPieces);
    this.#sentPieces = 0;
  }
}
