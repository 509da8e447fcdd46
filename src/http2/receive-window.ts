// How much of request bodies the client may still send (RFC 9113, 5.2), for one stream or for a
// connection. What was read is given back by halves of the window: often enough that a client
// never waits for a reader that keeps up, seldom enough to cost nothing.

export class ReceiveWindow {
  readonly #bytesMax: number;
  /** Received, and not given back: the client may send the rest. 0 <= read <= received. */
  #receivedBytes = 0;
  /** Of these, those that were read. */
  #readBytes = 0;

  /** `bytesMax`: as announced to the client. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** False: the client sent more than it may. */
  maybeReceive(bytes: number): boolean {
    this.#receivedBytes += bytes;
    return this.#receivedBytes <= this.#bytesMax;
  }

  /** So many of the received bytes were read. What is to be given back to the client now; 0:
   * nothing yet. */
  read(bytes: number): number {
    this.#readBytes += bytes;
    if (2 * this.#readBytes < this.#bytesMax) return 0;
    const given = this.#readBytes;
    this.#receivedBytes -= given;
    this.#readBytes = 0;
    return given;
  }
}
