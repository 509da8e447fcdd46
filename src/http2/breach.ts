// What a client may not do, each breach with its code and its words in our GOAWAY.
import { ConnectionError, errorCode } from "./wire.ts";

export function broken(what: string): ConnectionError {
  return new ConnectionError(errorCode.protocolError, `protocol error: ${what}`);
}

export function wrongSize(frame: string, payloadBytes: number): ConnectionError {
  return new ConnectionError(errorCode.frameSizeError, `${frame} of ${payloadBytes} bytes`);
}

/** More of a stream that the client itself has ended. */
export function afterEnd(frame: string): ConnectionError {
  return new ConnectionError(errorCode.streamClosed, `protocol error: ${frame} after END_STREAM`);
}

/** More DATA than the windows that we gave allow. */
export function tooMuchData(): ConnectionError {
  return new ConnectionError(errorCode.flowControlError, "more DATA than the window allows");
}

/** A window for us beyond what the protocol allows. */
export function tooWide(): ConnectionError {
  return new ConnectionError(errorCode.flowControlError, "a window beyond 2^31-1");
}

/** A header block that HPACK does not allow: nothing after it can be read either. */
export function badBlock(what: string): ConnectionError {
  return new ConnectionError(errorCode.compressionError, `a header block has ${what}`);
}

/** Costly beyond what any client needs that means no harm. */
export function tooMuch(text: string): ConnectionError {
  return new ConnectionError(errorCode.enhanceYourCalm, text);
}
