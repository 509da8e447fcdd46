// One connection between two members, after it is made: frames both ways over a socket.
//
//   bytes of the payload (u32, little endian) | kind (u8) | payload
//
// Either side says something every few seconds; one that hears nothing for longer takes the other
// for gone, for a host that vanished sends no end. Before the handshake a frame may be small only.
// Not here: what payloads mean, and who may talk.
import type { Socket } from "node:net";
import type { Clock, Timer } from "../base/clock.ts";
import { peerLimits } from "./peer-limits.ts";

export const frameKind = {
  /** Of the dialing side, first. */
  hello: 1,
  helloResponse: 2,
  /** Raft messages (frame.ts). */
  messages: 3,
  call: 4,
  answer: 5,
  ping: 6,
  /** Why the sender ends the connection, as text. */
  bye: 7,
} as const;
export type FrameKind = (typeof frameKind)[keyof typeof frameKind];

export interface LinkOwner {
  /** The payload's memory is the owner's. */
  frame(kind: number, payload: Buffer): void;
  /** Told once, last. */
  closed(cause: string): void;
}

const headBytes = 5;
/** Up to here a copy is cheaper than a second piece to write. */
const copyBytesMax = 16_384;
/** Of a stranger's last words, for the log. */
const byeBytesMax = 1_024;
const nothing = Buffer.alloc(0);

export class Link {
  readonly #socket: Socket;
  readonly #owner: LinkOwner;
  readonly #clock: Clock;
  #payloadBytesMax: number = peerLimits.handshakeBytesMax;
  /** A frame that has not come whole; empty between frames. */
  #hold: Buffer = nothing;
  #heldBytes = 0;
  #cause = "the connection was closed";
  #isClosed = false;
  #hasHeard = true;
  #silentMs = 0;
  #timer: Timer;

  constructor(clock: Clock, socket: Socket, owner: LinkOwner) {
    this.#socket = socket;
    this.#clock = clock;
    this.#owner = owner;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error) => {
      this.#cause = error.message;
    });
    socket.on("close", () => this.#closed());
    this.#timer = this.#armPing();
  }

  /** The other side has introduced itself: frames may have their full size. */
  trust(): void {
    this.#payloadBytesMax = peerLimits.frameBytesMax;
  }

  /** `written`: the frame was given to the system. */
  write(kind: FrameKind, payload: Uint8Array, written?: () => void): void {
    if (this.#isEnding()) return;
    const isSmall = payload.length < copyBytesMax;
    const head = Buffer.allocUnsafe(isSmall ? headBytes + payload.length : headBytes);
    head.writeUInt32LE(payload.length, 0);
    head[4] = kind;
    if (isSmall) {
      head.set(payload, headBytes);
      this.#socket.write(head, written);
      return;
    }
    this.#socket.cork();
    this.#socket.write(head);
    this.#socket.write(payload, written);
    this.#socket.uncork();
  }

  /** Says why, and ends the connection when that has left. */
  end(cause: string): void {
    this.#cause = cause;
    this.write(frameKind.bye, Buffer.from(cause));
    this.#socket.destroySoon();
  }

  /** Ends the connection now. */
  destroy(cause: string): void {
    this.#cause = cause;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#hasHeard = true;
    let at = 0;
    if (this.#heldBytes > 0) {
      at = this.#fill(headBytes, chunk, at);
      if (this.#heldBytes < headBytes || !this.#isAllowed(this.#hold, 0)) return;
      const frameBytes = headBytes + this.#hold.readUInt32LE(0);
      at = this.#fill(frameBytes, chunk, at);
      if (this.#heldBytes < frameBytes) return;
      const frame = this.#hold;
      this.#hold = nothing;
      this.#heldBytes = 0;
      this.#give(frame, 0, frameBytes);
    }
    while (chunk.length - at >= headBytes && !this.#isEnding()) {
      if (!this.#isAllowed(chunk, at)) return;
      const end = at + headBytes + chunk.readUInt32LE(at);
      if (end > chunk.length) break;
      this.#give(chunk, at, end);
      at = end;
    }
    if (at < chunk.length && !this.#isEnding()) this.#fill(chunk.length - at, chunk, at);
  }

  /** Copies from `chunk` until `frameBytes` are held or it is used up; the place it came to. */
  #fill(frameBytes: number, chunk: Buffer, at: number): number {
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

  #isAllowed(bytes: Buffer, at: number): boolean {
    const payloadBytes = bytes.readUInt32LE(at);
    if (payloadBytes <= this.#payloadBytesMax) return true;
    this.destroy(`a frame of ${payloadBytes} bytes came, ${this.#payloadBytesMax} are allowed`);
    return false;
  }

  #give(bytes: Buffer, at: number, end: number): void {
    const kind = bytes.readUInt8(at + 4);
    const payload = bytes.subarray(at + headBytes, end);
    if (kind === frameKind.bye) this.destroy(payload.toString("utf8", 0, byeBytesMax));
    else if (kind !== frameKind.ping) this.#owner.frame(kind, payload);
  }

  #isEnding(): boolean {
    return this.#isClosed || this.#socket.destroyed || this.#socket.writableEnded;
  }

  #armPing(): Timer {
    const { pingMs, silenceMs } = peerLimits;
    return this.#clock.after(pingMs, () => {
      this.#silentMs = this.#hasHeard ? 0 : this.#silentMs + pingMs;
      this.#hasHeard = false;
      if (this.#silentMs >= silenceMs) {
        this.destroy(`nothing was heard for ${silenceMs} ms`);
        return;
      }
      this.write(frameKind.ping, nothing);
      this.#timer = this.#armPing();
    });
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer.cancel();
    this.#owner.closed(this.#cause);
  }
}
