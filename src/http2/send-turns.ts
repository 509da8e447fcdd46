// Who of a connection sends next. Streams that had to wait take turns, one frame each, as far as
// the client's window for the connection and the gate of the output allow; who comes later waits
// behind them.
//
// Nobody waits for ever: a stream here can send as far as its own window goes, and `go` is called
// when what holds all of them back is gone: when the connection's window widens, and when the gate
// that was found shut opens.
import type { Output } from "./output.ts";
import { windowBytesDefault, windowBytesMax } from "./wire.ts";

export interface Sender {
  /** Whether it has anything to send that its own window allows. */
  isReady(): boolean;
  /** Sends one frame of so many bytes at most, and reports it by `sent`. */
  sendFrame(bytesMax: number): void;
}

/** A client widens windows for what it read: of the stream and of the connection, by half frames
 * at the worst. */
const updatesPerFrame = 4;

export class SendTurns {
  readonly #output: Output;
  #windowBytes = windowBytesDefault;
  readonly #waiting = new Set<Sender>();
  /** WINDOW_UPDATE frames that what was opened and sent calls for, and that have not come. */
  #dueUpdates = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  /** A stream was opened: some clients widen its window before anything is sent. */
  opened(): void {
    this.#dueUpdates += 1;
  }

  /** What may be sent now, out of turn. */
  roomBytes(): number {
    return this.#waiting.size === 0 && this.#output.isOpen() ? this.#windowBytes : 0;
  }

  /** A frame of so many body bytes was sent. */
  sent(bytes: number): void {
    this.#windowBytes -= bytes;
    this.#dueUpdates += updatesPerFrame;
  }

  /** The sender has something to send that had to wait. */
  wait(sender: Sender): void {
    if (!sender.isReady()) return;
    this.#waiting.add(sender);
    this.go();
  }

  leave(sender: Sender): void {
    this.#waiting.delete(sender);
  }

  go(): void {
    for (const sender of this.#waiting) {
      if (this.#windowBytes <= 0 || !this.#output.isOpen()) return;
      this.#waiting.delete(sender);
      sender.sendFrame(this.#windowBytes);
      if (sender.isReady()) this.#waiting.add(sender);
    }
  }

  /** The client's window for the connection widens; false: beyond what the protocol allows. */
  maybeWiden(bytes: number): boolean {
    this.#windowBytes += bytes;
    if (this.#windowBytes > windowBytesMax) return false;
    this.go();
    return true;
  }

  /** A WINDOW_UPDATE came; false: nothing calls for it. */
  maybeExpectUpdate(): boolean {
    if (this.#dueUpdates === 0) return false;
    this.#dueUpdates -= 1;
    return true;
  }
}
