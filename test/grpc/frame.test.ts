// Message framing: boundaries of chunks mean nothing.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameDecoder, sharedFrameHead } from "../../src/grpc/frame.ts";
import { frameOf } from "./raw-client.ts";

function decode(chunks: readonly Uint8Array[], messageBytesMax = 1_000_000): Uint8Array[] {
  const decoder = new FrameDecoder(messageBytesMax);
  const messages: Uint8Array[] = [];
  for (const chunk of chunks) decoder.push(Buffer.from(chunk), (message) => messages.push(message));
  expect(decoder.heldBytes()).toBe(0);
  return messages;
}

function split(bytes: Buffer, points: readonly number[]): Buffer[] {
  const cuts = [0, ...points.map((point) => point % (bytes.length + 1)), bytes.length];
  cuts.sort((left, right) => left - right);
  return cuts.slice(1).map((cut, i) => bytes.subarray(cuts[i], cut));
}

describe("frames", () => {
  test("FrameDecoder gives the same messages wherever the bytes are split", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 3_000 }), { maxLength: 12 }),
        fc.array(fc.nat(40_000), { maxLength: 30 }),
        (messages, points) => {
          const bytes = Buffer.concat(
            messages.flatMap((message) => [sharedFrameHead(message.length), message]),
          );
          const decoded = decode(split(bytes, points)).map((message) => Buffer.from(message));
          expect(decoded).toEqual(messages.map((message) => Buffer.from(message)));
        },
      ),
    );
  });

  test("FrameDecoder takes a message byte by byte", () => {
    const bytes = frameOf(Buffer.from("keelson"));
    const messages = decode([...bytes].map((byte) => Buffer.from([byte])));
    expect(messages.map((message) => Buffer.from(message).toString())).toEqual(["keelson"]);
  });

  test("FrameDecoder allocates for bytes that came, not for those announced", () => {
    const decoder = new FrameDecoder(2 ** 31);
    const head = frameOf(Buffer.alloc(0));
    head.writeUInt32BE(2 ** 30, 1);
    decoder.push(head, () => {});
    expect(decoder.heldBytes()).toBe(5);
  });

  test("FrameDecoder refuses a message over the limit by its head alone", () => {
    const decoder = new FrameDecoder(10);
    expect(() => decoder.push(frameOf(Buffer.alloc(11)).subarray(0, 5), () => {})).toThrow(
      "grpc: received message larger than max (11 vs. 10)",
    );
    expect(decode([frameOf(Buffer.alloc(10))], 10)).toHaveLength(1);
  });

  test("FrameDecoder refuses compressed messages and unknown flags", () => {
    const push = (flags: number) => () =>
      new FrameDecoder(10).push(frameOf(Buffer.alloc(1), flags), () => {});
    expect(push(1)).toThrow("grpc: compressed flag set with identity or empty encoding");
    expect(push(7)).toThrow("grpc: received unexpected payload format 7");
  });
});
