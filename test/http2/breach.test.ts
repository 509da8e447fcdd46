// Clients that break HTTP/2 (RFC 9113, RFC 7541): each breach ends the connection with GOAWAY, the
// code of the protocol and our words, and the owner is told once.
// Covers "src/http2/breach.ts", "src/http2/client-settings.ts", "src/http2/control-frames.ts" and
// "src/http2/header-gathering.ts".
import { afterEach, describe, expect, test } from "vitest";
import { eventually } from "../grpc/loopback-server.ts";
import { frameType, headerBlock, http2Frame, preface, RawSocket } from "../grpc/raw-frames.ts";
import {
  body,
  flags,
  head,
  openRaw,
  openSessions,
  ping,
  requestBlock,
  reset,
  settingId,
  settings,
  uint32,
  windowUpdate,
} from "./loopback-session.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const protocolError = 1;
const flowControlError = 3;
const streamClosed = 5;
const frameSizeError = 6;
const compressionError = 9;

const block = (bytes: readonly number[]) =>
  http2Frame(frameType.headers, flags.endHeaders, 1, Buffer.from(bytes));
const headersOf = (flagBits: number, streamId: number, payload: Uint8Array) =>
  http2Frame(frameType.headers, flagBits, streamId, payload);
const goaway = (streamId: number, bytes: number) =>
  http2Frame(frameType.goaway, 0, streamId, Buffer.alloc(bytes));

/** What is sent after preface and SETTINGS, the code, and the words. */
const breaches: readonly (readonly [frames: readonly Buffer[], code: number, text: string])[] = [
  [[body(0, Buffer.alloc(1))], protocolError, "DATA on a stream that is not open"],
  [[body(1, Buffer.alloc(1))], protocolError, "DATA on a stream that is not open"],
  [[head(3), body(2, Buffer.alloc(1))], protocolError, "DATA on a stream that is not open"],
  [[head(1, true), body(1, Buffer.alloc(1))], streamClosed, "DATA after END_STREAM"],
  [
    [head(1), http2Frame(frameType.data, flags.padded, 1, Buffer.from([3, 0, 0]))],
    protocolError,
    "more padding than payload",
  ],
  [[head(1), http2Frame(frameType.data, flags.padded, 1)], protocolError, "more padding"],
  [[head(0)], protocolError, "HEADERS on a stream that is not a client's"],
  [[head(2)], protocolError, "HEADERS on a stream that is not a client's"],
  [[head(1), head(1)], protocolError, "HEADERS in the middle of a request"],
  [[head(1, true), head(1, true)], streamClosed, "HEADERS after END_STREAM"],
  [
    [headersOf(flags.endHeaders + flags.padded, 1, Buffer.from([9, 0x82]))],
    protocolError,
    "more padding than payload",
  ],
  [
    [headersOf(flags.endHeaders + flags.priority, 1, Buffer.alloc(4))],
    protocolError,
    "more padding than payload",
  ],
  [[headersOf(0, 1, requestBlock()), ping()], protocolError, "a header block is interrupted"],
  [[headersOf(0, 1, requestBlock()), head(3)], protocolError, "a header block is interrupted"],
  [
    [headersOf(0, 1, requestBlock()), http2Frame(frameType.continuation, 4, 3)],
    protocolError,
    "CONTINUATION of nothing",
  ],
  [[http2Frame(frameType.continuation, 4, 1)], protocolError, "CONTINUATION of nothing"],
  [[reset(0)], protocolError, "RST_STREAM on a stream that is not open"],
  [[reset(1)], protocolError, "RST_STREAM on a stream that is not open"],
  [
    [head(1), http2Frame(frameType.reset, 0, 1, Buffer.alloc(3))],
    frameSizeError,
    "RST_STREAM of 3",
  ],
  [[http2Frame(frameType.settings, 0, 1)], protocolError, "SETTINGS on a stream"],
  [[http2Frame(frameType.settings, 0, 0, Buffer.alloc(5))], frameSizeError, "SETTINGS of 5 bytes"],
  [[http2Frame(frameType.settings, 1, 0, Buffer.alloc(6))], frameSizeError, "SETTINGS of 6 bytes"],
  [[settings([settingId.enablePush, 2])], protocolError, "ENABLE_PUSH of 2"],
  [[settings([settingId.maxFrame, 16_383])], protocolError, "MAX_FRAME_SIZE of 16383"],
  [[settings([settingId.maxFrame, 2 ** 24])], protocolError, "MAX_FRAME_SIZE of 16777216"],
  [[settings([settingId.initialWindow, 2 ** 31])], flowControlError, "a window beyond 2^31-1"],
  [
    [head(1), windowUpdate(1, 2 ** 31 - 1 - 65_535), settings([settingId.initialWindow, 65_536])],
    flowControlError,
    "a window beyond 2^31-1",
  ],
  [[http2Frame(frameType.ping, 0, 1, Buffer.alloc(8))], protocolError, "PING on a stream"],
  [[http2Frame(frameType.ping, 0, 0, Buffer.alloc(7))], frameSizeError, "PING of 7 bytes"],
  [[http2Frame(frameType.windowUpdate, 0, 0, uint32(1).subarray(1))], frameSizeError, "of 3 bytes"],
  [[windowUpdate(0, 0)], protocolError, "a WINDOW_UPDATE of 0"],
  [[head(1), windowUpdate(1, 0)], protocolError, "a WINDOW_UPDATE of 0"],
  [[windowUpdate(1, 1)], protocolError, "WINDOW_UPDATE on a stream that is not open"],
  [[windowUpdate(0, 2 ** 31 - 65_535)], flowControlError, "a window beyond 2^31-1"],
  [[head(1), windowUpdate(1, 2 ** 31 - 65_535)], flowControlError, "a window beyond 2^31-1"],
  [[goaway(1, 8)], protocolError, "GOAWAY on a stream"],
  [[goaway(0, 7)], frameSizeError, "GOAWAY of 7 bytes"],
  [[http2Frame(5, 4, 1, uint32(2))], protocolError, "PUSH_PROMISE from a client"],
  [[http2Frame(2, 0, 0, Buffer.alloc(5))], protocolError, "PRIORITY of no stream"],
  [[http2Frame(2, 0, 1, Buffer.alloc(4))], frameSizeError, "PRIORITY of 4 bytes"],
  [[http2Frame(0, 0, 1, Buffer.alloc(16_385))], frameSizeError, "a frame of 16385 bytes"],
  [[block([0x80])], compressionError, "an index of 0"],
  [[block([0xff, 0x00])], compressionError, "an index of 127"],
  [[block([0x3f, 0xe2, 0x1f])], compressionError, "a table size of 4097"],
  [[block([0x82, 0x20])], compressionError, "a table size after a field"],
  [[block([0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])], compressionError, "an integer"],
  [[block([0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80])], compressionError, "an integer without end"],
  [[block([0x00, 0x05, 0x61])], compressionError, "an early end"],
  [[block([0x00, 0x81, 0x00])], compressionError, "half a symbol"],
  [[headersOf(4, 1, headerBlock([["x", "v".repeat(66_000)]]).subarray(0, 16_384))], 9, "early end"],
];

describe("a breach of the protocol", () => {
  test.each(breaches.map(([frames, code, text], i) => ({ i, frames, code, text })))(
    "$i: $text ends the connection with code $code",
    async ({ frames, code, text }) => {
      const raw = await openRaw();
      closers.push(() => raw.close());
      raw.socket.send(...frames);
      await eventually(() => raw.socket.isClosed, "the end");
      expect(raw.socket.goaway()?.code).toBe(code);
      expect(raw.socket.goaway()?.text).toContain(text);
      await eventually(() => raw.owner.closedCount > 0, "the owner's end");
      expect(raw.owner.closedCount).toBe(1);
      expect(raw.owner.errors).toHaveLength(1);
      for (const { closings } of raw.owner.requests) expect(closings).toEqual([true]);
    },
  );

  test("a first frame that is not SETTINGS, or a preface of another protocol, is one too", async () => {
    const sessions = await openSessions();
    closers.push(() => sessions.close());
    for (const first of [Buffer.concat([preface, ping()]), Buffer.from("GET / HTTP/1.1\r\n\r\n")]) {
      const socket = await RawSocket.connect(sessions.port);
      socket.send(first);
      await eventually(() => socket.isClosed, "the end");
      expect(socket.goaway()?.code).toBe(protocolError);
    }
    expect(sessions.served.map(({ owner }) => owner.settledCount)).toEqual([0, 0]);
  });

  test("a header block that never ends is cut by its size", async () => {
    const raw = await openRaw();
    closers.push(() => raw.close());
    raw.socket.send(headersOf(0, 1, requestBlock()));
    const more = http2Frame(frameType.continuation, 0, 1, Buffer.alloc(16_000));
    raw.socket.send(...Array<Buffer>(5).fill(more));
    await eventually(() => raw.socket.isClosed, "the end");
    expect(raw.socket.goaway()).toEqual({ code: 11, text: "header_list_too_large" });
  });

  test("a header list that unpacks to more than was sent is cut by its size", async () => {
    const raw = await openRaw();
    closers.push(() => raw.close());
    const stored = Buffer.concat([
      Buffer.from([0x40]),
      headerBlock([["x", "v".repeat(4_000)]]).subarray(1),
    ]);
    raw.socket.send(headersOf(4, 1, Buffer.concat([stored, Buffer.alloc(1_000, 0xbe)])));
    await eventually(() => raw.socket.isClosed, "the end");
    expect(raw.socket.goaway()).toEqual({ code: 11, text: "header_list_too_large" });
  });

  test("a block of the shortest symbols, as long as a block may be, is read without harm", async () => {
    const raw = await openRaw();
    closers.push(() => raw.close());
    // One Huffman string of 65,000 zero bytes: 104,000 times "0".
    const string = Buffer.concat([
      Buffer.from([0x00, 0x01, 0x78, 0xff, 0xe9, 0xfa, 0x03]),
      Buffer.alloc(65_000),
    ]);
    raw.socket.send(headersOf(0, 1, string.subarray(0, 16_000)));
    for (let at = 16_000; at < string.length; at += 16_000) {
      const isLast = at + 16_000 >= string.length;
      const part = string.subarray(at, at + 16_000);
      raw.socket.send(http2Frame(frameType.continuation, isLast ? 4 : 0, 1, part));
    }
    await eventually(() => raw.socket.isClosed, "the end");
    expect(raw.socket.goaway()).toEqual({ code: 11, text: "header_list_too_large" });
  });
});
