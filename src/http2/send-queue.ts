// The body that one stream still has to send: pieces in order, taken in frames as flow control
// allows. Pieces are kept as given, so that one that thousands of streams send exists once.
import { assert } from "../base/assert.ts";
import type { Output } from "./output.ts";

export class SendQueue {
  #pieces: Uint8Array[] = [];
  /** Sent bytes of the first piece. */
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
    let taken = 0;
    while (left > 0) {
      const piece = this.#pieces[taken];
      assert(piece !== undefined, "a send queue miscounts its bytes");
      const end = Math.min(piece.length, this.#sentBytes + left);
      left -= end - this.#sentBytes;
      output.bytes(
        this.#sentBytes === 0 && end === piece.length
          ? piece
          : piece.subarray(this.#sentBytes, end),
      );
      this.#sentBytes = end === piece.length ? 0 : end;
      if (end === piece.length) taken++;
    }
    this.#pieces = taken === this.#pieces.length ? [] : this.#pieces.slice(taken);
  }

  clear(): void {
    this.#pieces = [];
    this.#sentBytes = 0;
    this.#bytes = 0;
  }
}
