// What came of a request body while its reader paused. Copied together: a piece on its own would
// keep the whole read of the socket that it came in. The window bounds it.
const nothing = Buffer.alloc(0);
const bytesMin = 1_024;

export class HeldBody {
  #bytes: Buffer = nothing;
  /** What is held of it. */
  #from = 0;
  #to = 0;

  length(): number {
    return this.#to - this.#from;
  }

  push(chunk: Buffer): void {
    if (this.#to + chunk.length > this.#bytes.length) this.#makeRoom(this.length() + chunk.length);
    chunk.copy(this.#bytes, this.#to);
    this.#to += chunk.length;
  }

  /** The first bytes, so many at most; the taker owns them. */
  take(bytesMax: number): Buffer {
    const end = Math.min(this.#to, this.#from + bytesMax);
    const taken = Buffer.from(this.#bytes.subarray(this.#from, end));
    this.#from = end;
    if (this.#from === this.#to) this.clear();
    return taken;
  }

  clear(): void {
    this.#bytes = nothing;
    this.#from = 0;
    this.#to = 0;
  }

  /** Moves what is held to the front, of a larger place unless half of this one is enough: so no
   * byte moves more than a few times. */
  #makeRoom(bytes: number): void {
    const isEnough = 2 * bytes <= this.#bytes.length;
    const place = isEnough ? this.#bytes : Buffer.allocUnsafeSlow(Math.max(2 * bytes, bytesMin));
    this.#bytes.copy(place, 0, this.#from, this.#to);
    this.#bytes = place;
    this.#to -= this.#from;
    this.#from = 0;
  }
}
