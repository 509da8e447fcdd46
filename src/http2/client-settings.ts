// SETTINGS of a client (RFC 9113, 6.5). Only the window of its streams concerns us: our frames and
// header blocks are always within what every client takes, and nothing is pushed. What it may not
// say is refused all the same.
import { broken, tooWide, wrongSize } from "./breach.ts";
import { framePayloadBytesMax, settingId, windowBytesMax } from "./wire.ts";

const settingBytes = 6;

/** The new window of streams; null: it stays. One frame may set it a thousand times, and only the
 * last counts. Throws ConnectionError. */
export function readStreamWindow(bytes: Buffer, start: number, end: number): number | null {
  if ((end - start) % settingBytes !== 0) {
    throw wrongSize("SETTINGS", end - start);
  }
  let windowBytes: number | null = null;
  for (let at = start; at < end; at += settingBytes) {
    const value = bytes.readUInt32BE(at + 2);
    switch (bytes.readUInt16BE(at)) {
      case settingId.enablePush:
        if (value > 1) throw broken(`ENABLE_PUSH of ${value}`);
        break;
      case settingId.maxFrameSize:
        if (value < framePayloadBytesMax || value >= 2 ** 24)
          throw broken(`MAX_FRAME_SIZE of ${value}`);
        break;
      case settingId.initialWindowSize:
        if (value > windowBytesMax) throw tooWide();
        windowBytes = value;
        break;
    }
  }
  return windowBytes;
}
