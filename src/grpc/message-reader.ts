// The request half of one call: chunks in, messages out, and the bookkeeping of what an
// unfinished message costs the connection. A frame that is refused ends the call.
import { grpcStatus, RequestError } from "../base/errors.ts";
import type { Call, CallDeps } from "./call.ts";
import { FrameDecoder } from "./frame.ts";

/** Small pieces of one message that cost nothing: some clients send its head on its own. */
const freePieceCount = 4;

export class MessageReader {
  readonly #deps: CallDeps;
  readonly #call: Call;
  readonly #decoder: FrameDecoder;
  readonly #take: (message: Uint8Array) => void;
  /** Bytes reported to the ledger as held. */
  #heldBytes = 0;
  /** Small pieces since the last message was whole. */
  #pieceCount = 0;

  constructor(deps: CallDeps, call: Call, take: (message: Uint8Array) => void) {
    this.#deps = deps;
    this.#call = call;
    this.#decoder = new FrameDecoder(deps.limits.messageBytesMax);
    this.#take = (message) => {
      deps.observer.received(call.path, message.length);
      take(message);
    };
  }

  read(chunk: Buffer): void {
    const call = this.#call;
    try {
      this.#decoder.push(chunk, this.#take);
    } catch (error) {
      // RequestError: the frame is malformed or too large.
      call.failed(error);
      return;
    }
    const heldBytes = this.#decoder.heldBytes();
    const isPiece = heldBytes - this.#heldBytes === chunk.length && chunk.length > 0;
    if (!isPiece) this.#pieceCount = 0;
    if (heldBytes === this.#heldBytes || call.isOver()) return;
    if (isPiece) this.#countPiece(chunk.length);
    const isAffordable = call.ledger.maybeHold(heldBytes - this.#heldBytes);
    this.#heldBytes = heldBytes;
    if (!isAffordable) call.end(tooManyRequestBytes());
  }

  #countPiece(pieceBytes: number): void {
    if (pieceBytes >= this.#deps.limits.pieceBytesMin) return;
    this.#pieceCount += 1;
    if (this.#pieceCount > freePieceCount) this.#call.ledger.idleFrame();
  }

  /** The client half-closed; false when it did so inside a message, which ends the call. */
  finish(): boolean {
    if (this.#decoder.heldBytes() === 0) return true;
    this.#call.end(RequestError.worded(grpcStatus.internal, "unexpected EOF"));
    return false;
  }

  /** The call is over: its held bytes no longer count. */
  release(): void {
    if (this.#heldBytes === 0) return;
    this.#call.ledger.maybeHold(-this.#heldBytes);
    this.#heldBytes = 0;
  }
}

export function tooManyRequestBytes(): RequestError {
  return RequestError.worded(
    grpcStatus.resourceExhausted,
    "keelson: too many unfinished request bytes on this connection; send fewer at a time",
  );
}
