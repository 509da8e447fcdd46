// Do these request bytes say exactly what the decoder reads from them?
//
// Request bytes go into the log unchanged only when every byte is accounted for: known field,
// its wire type, at most one value where one is meant, and lengths that fit. Then the bytes have
// one meaning, now and to every later version of this program. Bytes that are well-formed but say
// more (fields of a newer client, a field twice) are for the caller to encode anew from what was
// decoded; bytes that are not well-formed are refused, because decoders differ on them.
//
// The walk allocates nothing but its cursor, and recurses at most depthMax deep: deeper than any
// useful request, and below the generated decoder's own limit even inside a Command.
import { RequestError, grpcStatus } from "../base/errors.ts";

/** "varint" and "bytes" are leaves; a shape is a nested message. */
export type FieldKind = "varint" | "bytes" | MessageShape;

export interface FieldShape {
  readonly kind: FieldKind;
  readonly isRepeated: boolean;
  /** Of the message's only oneof: its fields exclude each other. */
  readonly isOneof: boolean;
}

/** Known fields by number; filled after construction, since messages may contain themselves. */
export type MessageShape = Map<number, FieldShape>;

export const depthMax = 96;

const wireVarint = 0;
const wireFixed64 = 1;
const wireBytes = 2;
const wireFixed32 = 5;

/** True: every byte is accounted for. Throws RequestError when `bytes` is no message at all. */
export function isStrict(bytes: Uint8Array, shape: MessageShape): boolean {
  return walkMessage({ bytes, at: 0 }, bytes.length, shape, depthMax);
}

interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

// Fields seen are marked in one word: small numbers by their own bit, the only large one there is
// (Compare.range_end, 64) by bit 30, the fields of the oneof by bit 0 together.
function markOf(field: FieldShape, number: number): number {
  if (field.isOneof) return 1;
  return 1 << (number < 30 ? number : 30);
}

function walkMessage(cursor: Cursor, end: number, shape: MessageShape, depth: number): boolean {
  if (depth === 0) throw malformed("messages are nested too deep");
  let strict = true;
  let seen = 0;
  while (cursor.at < end) {
    const tag = readVarint(cursor, end);
    if (tag > 0xffffffff || tag < 8) throw malformed("invalid field number");
    const wireType = tag & 7;
    const number = Math.floor(tag / 8);
    const field = shape.get(number);
    const isKnown = field !== undefined && wireType === wireTypeOf(field.kind);
    if (!isKnown) {
      strict = false;
      skip(cursor, end, wireType);
      continue;
    }
    if (!field.isRepeated) {
      const mark = markOf(field, number);
      if ((seen & mark) !== 0) strict = false;
      seen |= mark;
    }
    if (typeof field.kind === "string") skip(cursor, end, wireType);
    else {
      const nestedEnd = readLength(cursor, end);
      strict = walkMessage(cursor, nestedEnd, field.kind, depth - 1) && strict;
    }
  }
  return strict;
}

function wireTypeOf(kind: FieldKind): number {
  return kind === "varint" ? wireVarint : wireBytes;
}

function skip(cursor: Cursor, end: number, wireType: number): void {
  switch (wireType) {
    case wireVarint:
      readVarint(cursor, end);
      return;
    case wireBytes:
      cursor.at = readLength(cursor, end);
      return;
    case wireFixed64:
    case wireFixed32:
      cursor.at += wireType === wireFixed64 ? 8 : 4;
      if (cursor.at > end) throw malformed("unexpected end of message");
      return;
    default:
      // Groups left protobuf before gRPC came; nothing in proto3 sends them.
      throw malformed(`invalid wire type ${wireType}`);
  }
}

/** Where the length-delimited value that starts here ends. */
function readLength(cursor: Cursor, end: number): number {
  const length = readVarint(cursor, end);
  if (length > end - cursor.at) throw malformed("unexpected end of message");
  return cursor.at + length;
}

/** Exact up to 2^53, otherwise merely larger: only tags and lengths are looked at. */
function readVarint(cursor: Cursor, end: number): number {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < 10; i++) {
    if (cursor.at >= end) throw malformed("unexpected end of message");
    const byte = cursor.bytes[cursor.at++] as number;
    if (i === 9 && byte > 1) break;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 128;
  }
  throw malformed("a number has more than 64 bits");
}

/** As a gRPC server words it. */
export function malformed(reason: string): RequestError {
  const text = `grpc: error unmarshalling request: proto: cannot parse message: ${reason}`;
  return RequestError.worded(grpcStatus.internal, text);
}
