// Frames that say something about a connection or a stream, and carry nothing of a request.
import type { Output } from "./output.ts";
import { frameType } from "./wire.ts";
import type { ErrorCode } from "./wire.ts";

export function writeReset(output: Output, streamId: number, code: ErrorCode): void {
  output.frame(frameType.reset, 0, streamId, uint32(code));
}

/** Stream 0: of the connection. */
export function writeWindowUpdate(output: Output, streamId: number, bytes: number): void {
  output.frame(frameType.windowUpdate, 0, streamId, uint32(bytes));
}

export function writeGoaway(
  output: Output,
  lastStreamId: number,
  { code, text }: { readonly code: ErrorCode; readonly text: string },
): void {
  const parts = [uint32(lastStreamId), uint32(code), Buffer.from(text)];
  output.frame(frameType.goaway, 0, 0, Buffer.concat(parts));
}

export function writeSettings(
  output: Output,
  settings: readonly (readonly [id: number, value: number])[],
): void {
  const payload = Buffer.alloc(6 * settings.length);
  settings.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, 6 * i);
    payload.writeUInt32BE(value, 6 * i + 2);
  });
  output.frame(frameType.settings, 0, 0, payload);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}
