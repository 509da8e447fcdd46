// One frame: the messages that one turn had for one peer, as one gRPC message.
//
//   crc32 of the rest (u32, little endian) | length (u32), message (raft/codec) | length, message …
//
// The sum is there because nothing below it is trusted with what will be acknowledged as durable:
// a frame that does not match is dropped whole, and its connection with it (N12).
import { crc32 } from "node:zlib";
import { DecodeError, decodeMessage, messageBytesMax, writeMessage } from "../raft/codec.ts";
import type { Message } from "../raft/message.ts";

const sumBytes = 4;
const lengthBytes = 4;

export function encodeFrame(messages: readonly Message[]): Buffer {
  let bytesMax = sumBytes;
  for (const message of messages) bytesMax += lengthBytes + messageBytesMax(message);
  const frame = Buffer.allocUnsafe(bytesMax);
  let at = sumBytes;
  for (const message of messages) {
    const first = at + lengthBytes;
    const end = writeMessage(message, frame, first);
    frame.writeUInt32LE(end - first, at);
    at = end;
  }
  frame.writeUInt32LE(crc32(frame.subarray(sumBytes, at)), 0);
  return frame.subarray(0, at);
}

/** Throws DecodeError for a damaged frame. The messages keep views of it. */
export function decodeFrame(frame: Buffer): Message[] {
  if (frame.length < sumBytes) throw new DecodeError(`a frame of ${frame.length} bytes`);
  if (crc32(frame.subarray(sumBytes)) !== frame.readUInt32LE(0)) {
    throw new DecodeError("the frame does not match its checksum");
  }
  const messages: Message[] = [];
  let at = sumBytes;
  while (at < frame.length) {
    if (at + lengthBytes > frame.length) throw new DecodeError("a frame ends within a length");
    const end = at + lengthBytes + frame.readUInt32LE(at);
    if (end > frame.length) throw new DecodeError("a frame ends within a message");
    messages.push(decodeMessage(frame.subarray(at + lengthBytes, end)));
    at = end;
  }
  return messages;
}
