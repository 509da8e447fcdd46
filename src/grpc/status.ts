// How a call's end looks on the wire: grpc-status and grpc-message, as trailers behind messages or
// in the only header block ("trailers-only") when there are none.
import { grpcStatus } from "../base/errors.ts";
import type { RequestError } from "../base/errors.ts";
import { encodeHeaderBlock } from "../http2/header-block.ts";

export const grpcContentType = "application/grpc";

/** Header block in front of messages. */
export const responseBlock = encodeHeaderBlock([":status", "200", "content-type", grpcContentType]);

const okTrailers = encodeHeaderBlock(["grpc-status", String(grpcStatus.ok)]);

export function trailersOf(refusal: RequestError | null): Buffer {
  return refusal === null ? okTrailers : encodeHeaderBlock(statusFields(refusal));
}

/** The only header block of a call that ends without a message. */
export function trailersOnlyOf(refusal: RequestError | null): Buffer {
  return Buffer.concat([responseBlock, trailersOf(refusal)]);
}

/** The only header block for a request that is no call, with a status for those who speak HTTP. */
export function refusalBlock(httpStatus: number, refusal: RequestError): Buffer {
  return encodeHeaderBlock([
    ...[":status", String(httpStatus), "content-type", grpcContentType],
    ...["grpc-accept-encoding", "identity"],
    ...statusFields(refusal),
  ]);
}

function statusFields({ status, message }: RequestError): string[] {
  return ["grpc-status", String(status), "grpc-message", encodeStatusText(message)];
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
