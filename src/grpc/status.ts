// How a call's end looks on the wire: grpc-status and grpc-message, as trailers behind messages or
// in the only header block ("trailers-only") when there are none.
import type { OutgoingHttpHeaders } from "node:http2";
import { grpcStatus } from "../base/errors.ts";
import type { RequestError } from "../base/errors.ts";

export const grpcContentType = "application/grpc";

/** Response headers in front of messages. */
export const responseHeaders: OutgoingHttpHeaders = {
  ":status": 200,
  "content-type": grpcContentType,
};

// Without the date header: it means nothing to gRPC, and Node would make it for every call.
export const withTrailers = { waitForTrailers: true, sendDate: false } as const;
export const trailersOnly = { endStream: true, sendDate: false } as const;

export const okTrailers: OutgoingHttpHeaders = { "grpc-status": grpcStatus.ok };

export function trailersOf(refusal: RequestError | null): OutgoingHttpHeaders {
  if (refusal === null) return okTrailers;
  return { "grpc-status": refusal.status, "grpc-message": encodeStatusText(refusal.message) };
}

/** Percent-encoding of the gRPC protocol: bytes of UTF-8 outside space to tilde, and "%". */
export function encodeStatusText(text: string): string {
  if (/^[ -$&-~]*$/.test(text)) return text;
  let encoded = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}
