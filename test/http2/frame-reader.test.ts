// Frames out of bytes, however the bytes are cut; and the buffers beneath sending and receiving
// against their models.
// Covers "src/http2/held-body.ts", "src/http2/send-queue.ts" and "src/http2/field-check.ts".
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isMalformed } from "../../src/http2/field-check.ts";
import { FrameReader } from "../../src/http2/frame-reader.ts";
import { HeldBody } from "../../src/http2/held-body.ts";
import { Output } from "../../src/http2/output.ts";
import { SendQueue } from "../../src/http2/send-queue.ts";
import { eventually } from "../grpc/loopback-server.ts";
import { http2Frame, preface } from "../grpc/raw-frames.ts";

type Frame = readonly [type: number, flags: number, streamId: number, payload: string];

/** Pushes `bytes` in chunks that end at `cuts`, as shares of the whole. */
function readInChunks(bytes: Buffer, cuts: readonly number[]): Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader((type, flags, streamId, payload, start, end) =>
    frames.push([type, flags, streamId, payload.toString("hex", start, end)]),
  );
  const ends = [...cuts.map((share) => Math.floor(share * bytes.length)), bytes.length];
  let at = 0;
  for (const end of ends.toSorted((a, b) => a - b)) {
    reader.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  return frames;
}

const frame = fc.tuple(
  fc.nat(255),
  fc.nat(255),
  fc.nat(2 ** 31 - 1),
  fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.nat(16_384).map((length) => new Uint8Array(length)),
  ),
);
const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 });

describe("FrameReader", () => {
  test("gives the same frames however their bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), shares, (frames, cuts) => {
        const bytes = Buffer.concat([preface, ...frames.map((parts) => http2Frame(...parts))]);
        const expected = frames.map(([type, flags, streamId, payload]) => [
          ...[type, flags, streamId],
          Buffer.from(payload).toString("hex"),
        ]);
        expect(readInChunks(bytes, cuts)).toEqual(expected);
      }),
    );
  });

  test("takes one byte at a time, and masks the reserved bit", () => {
    const bytes = Buffer.concat([preface, http2Frame(6, 1, 2 ** 31 + 5, Buffer.from("ab"))]);
    const cuts = Array.from(bytes, (_, i) => i / bytes.length);
    expect(readInChunks(bytes, cuts)).toEqual([[6, 1, 5, "6162"]]);
  });

  test("throws for another preface or a frame too long, before it has come", () => {
    const reader = new FrameReader(() => {});
    reader.push(preface.subarray(0, 20));
    expect(() => reader.push(Buffer.from("XX"))).toThrow("no preface");
    const long = http2Frame(0, 0, 1, Buffer.alloc(16_385)).subarray(0, 9);
    expect(() => readInChunks(Buffer.concat([preface, long]), [])).toThrow(
      "a frame of 16385 bytes",
    );
    const cuts = [(preface.length + 4) / (preface.length + 9)];
    expect(() => readInChunks(Buffer.concat([preface, long]), cuts)).toThrow("a frame of 16385");
  });
});

describe("HeldBody", () => {
  test("gives out what it was given, in order", () => {
    const step = fc.oneof(
      fc.nat(3_000).map((pushed) => ({ pushed })),
      fc.nat(5_000).map((taken) => ({ taken })),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const held = new HeldBody();
        let model = Buffer.alloc(0);
        let next = 0;
        for (const did of steps) {
          if ("pushed" in did) {
            const chunk = Buffer.from(Array.from({ length: did.pushed }, () => next++ % 251));
            held.push(chunk);
            model = Buffer.concat([model, chunk]);
          } else {
            expect(held.take(did.taken).equals(model.subarray(0, did.taken))).toBe(true);
            model = model.subarray(did.taken);
          }
          expect(held.length()).toBe(model.length);
        }
      }),
    );
  });
});

describe("SendQueue", () => {
  test("sends its pieces in order, in frames of any size", async () => {
    const listener = createServer();
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const received: Buffer[] = [];
    listener.on("connection", (peer: Socket) => peer.on("data", (chunk) => received.push(chunk)));
    const socket = connect((listener.address() as AddressInfo).port, "127.0.0.1");
    const output = new Output(socket, () => {});
    const expected: Buffer[] = [];
    const sizes = fc.array(fc.nat(6_000), { maxLength: 20 });
    fc.assert(
      fc.property(sizes, fc.array(fc.nat(9_000), { maxLength: 20 }), (pieces, takes) => {
        const queue = new SendQueue();
        for (const bytes of pieces) {
          const piece = Buffer.alloc(bytes, bytes % 251);
          expected.push(piece);
          queue.push(piece);
        }
        for (const bytes of takes) queue.take(Math.min(bytes, queue.bytes()), output);
        queue.take(queue.bytes(), output);
        expect(queue.bytes()).toBe(0);
      }),
    );
    const total = expected.reduce((sum, { length }) => sum + length, 0);
    await eventually(() => Buffer.concat(received).length >= total, "all bytes");
    expect(Buffer.concat(received).equals(Buffer.concat(expected))).toBe(true);
    socket.destroy();
    listener.close();
  });
});

describe("isMalformed", () => {
  const request = [":method", "POST", ":scheme", "http", ":path", "/"];

  test("finds nothing wrong with what clients send", () => {
    expect(isMalformed(request)).toBe(false);
    expect(isMalformed([":authority", "", ...request, "x-y_z.1!", " any\tvalue\u00ff "])).toBe(
      false,
    );
    expect(isMalformed([...request, "te", "gzip", "a", "1", "a", "2"])).toBe(false);
  });

  test.each([
    ["no method", request.slice(2)],
    ["no path", request.slice(0, 4)],
    ["no scheme", [...request.slice(0, 2), ...request.slice(4)]],
    ["a pseudo field twice", [...request, ":path", "/"]],
    ["a pseudo field of responses", [...request, ":status", "200"]],
    ["a pseudo field nobody knows", [...request, ":protocol", "x"]],
    ["a pseudo field behind others", ["a", "b", ...request]],
    ["upper case", [...request, "Te", "x"]],
    ["an empty name", [...request, "", "x"]],
    ["a space in a name", [...request, "a b", "x"]],
    ["a colon in a name", [...request, "a:b", "x"]],
    ["a name beyond ASCII", [...request, "\u00e4", "x"]],
    ["a line feed", [...request, "a", "x\ny"]],
    ["a carriage return", [...request, "a", "x\r"]],
    ["a zero", [":method", "POST", ":scheme", "http", ":path", "/\u0000"]],
    ["a field of HTTP/1 connections", [...request, "connection", "close"]],
  ])("finds %s", (_what, fields) => {
    expect(isMalformed(fields)).toBe(true);
  });
});
