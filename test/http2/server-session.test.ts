// One connection by frames made by hand: what is tolerated, what is refused, what is answered, and
// how a connection ends. Breaches are in breach.test.ts, windows in windows.test.ts.
// Covers "src/http2/output.ts" and "src/http2/wire.ts".
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { FakeClock } from "../sim/fake-clock.ts";
import { eventually } from "../grpc/loopback-server.ts";
import type { ReceivedFrame } from "../grpc/raw-frames.ts";
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
  windowUpdate,
} from "./loopback-session.ts";
import type { LoopbackOptions } from "./loopback-session.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function open(options: LoopbackOptions = {}) {
  const raw = await openRaw({ finish: (request) => request.answer(request.body()), ...options });
  closers.push(() => raw.close());
  const framesOf = (streamId: number) =>
    raw.socket.frames().filter((frame) => frame.streamId === streamId);
  return { ...raw, framesOf };
}

function isEnd({ type, flags: bits }: ReceivedFrame): boolean {
  return type === frameType.headers && (bits & flags.endStream) !== 0;
}

const resetCodeOf = (frames: readonly ReceivedFrame[]) =>
  frames.find(({ type }) => type === frameType.reset)?.payload.readUInt32BE(0);

describe("ServerSession", () => {
  test("answers a request with headers, body and trailers, and the client's SETTINGS with an ack", async () => {
    const { socket, owner, framesOf } = await open();
    socket.send(head(1), body(1, Buffer.from("hello"), true));
    await eventually(() => framesOf(1).some(isEnd), "the answer");
    expect(framesOf(1).map(({ type }) => type)).toEqual([
      frameType.headers,
      frameType.data,
      frameType.headers,
    ]);
    expect(framesOf(1)[1]?.payload.toString()).toBe("hello");
    expect(framesOf(0).map(({ type, flags: bits }) => [type, bits])).toEqual([
      [frameType.settings, 0],
      [frameType.settings, flags.ack],
    ]);
    expect(owner.requests[0]?.closings).toEqual([false]);
    expect(owner.idleFrameCount).toBe(0);
  });

  test("takes padding, priorities, split blocks and reserved bits as if they were not there", async () => {
    const { socket, owner, framesOf } = await open();
    const block = requestBlock(["x-long", "v".repeat(300)]);
    const { endHeaders, endStream, padded, priority } = flags;
    const padding = Buffer.alloc(7);
    const withAll = [Buffer.from([7]), Buffer.alloc(5), block, padding];
    socket.send(
      http2Frame(1, endHeaders + padded + priority, 2 ** 31 + 1, Buffer.concat(withAll)),
      http2Frame(
        0,
        padded,
        1,
        Buffer.concat([Buffer.from([3]), Buffer.from("pad"), Buffer.alloc(3)]),
      ),
      http2Frame(0, padded + endStream, 1, Buffer.concat([Buffer.from([2]), Buffer.alloc(2)])),
      http2Frame(1, endStream, 3, block.subarray(0, 10)),
      http2Frame(frameType.continuation, 0, 3, block.subarray(10, 200)),
      http2Frame(frameType.continuation, 0, 3),
      http2Frame(frameType.continuation, endHeaders, 3, block.subarray(200)),
    );
    await eventually(() => framesOf(3).some(isEnd), "the answers");
    expect(owner.requests.map((request) => request.body().toString())).toEqual(["pad", ""]);
    const [first, second] = owner.requests;
    expect(first?.fields).toEqual(second?.fields);
    expect(first?.fields.slice(-2)).toEqual(["x-long", "v".repeat(300)]);
  });

  test("ignores what it does not know and what comes for closed streams, and counts it", async () => {
    const { socket, owner, framesOf } = await open();
    socket.send(head(1, true));
    await eventually(() => framesOf(1).some(isEnd), "the answer");
    socket.send(
      http2Frame(77, 255, 9, Buffer.alloc(100)),
      http2Frame(2, 0, 9, Buffer.alloc(5)),
      reset(1),
      body(1, Buffer.from("late")),
      head(1, true),
      http2Frame(frameType.ping, flags.ack, 0, Buffer.alloc(8)),
      http2Frame(frameType.settings, flags.ack, 0),
      http2Frame(frameType.settings, flags.ack, 0),
      http2Frame(frameType.goaway, 0, 0, Buffer.alloc(8)),
      settings([99, 5]),
    );
    // An answer to a call that ended early crosses large DATA of a client that means no harm.
    socket.send(body(1, Buffer.alloc(5_000)), head(3, true));
    await eventually(() => framesOf(3).some(isEnd), "the next answer");
    expect(owner.idleFrameCount).toBe(8);
    expect(owner.settledCount).toBe(2);
    expect(owner.requests).toHaveLength(2);
  });

  test("WINDOW_UPDATE frames are idle beyond what streams and our DATA call for", async () => {
    const { socket, owner, framesOf } = await open();
    socket.send(head(1), body(1, Buffer.from("x"), true));
    await eventually(() => framesOf(1).some(isEnd), "the answer");
    socket.send(...Array<Buffer>(10).fill(windowUpdate(0, 1)), ping());
    await eventually(() => owner.pingCount === 1, "the updates");
    expect(owner.idleFrameCount).toBe(5);
  });

  test("a request over a limit or malformed is reset, the others live", async () => {
    const { socket, owner, framesOf } = await open({ limits: { streamsPerConnectionMax: 1 } });
    const field = (i: number, bytes: number): [string, string] => [`x-${i}`, "v".repeat(bytes)];
    const headers = (streamId: number, block: Uint8Array) =>
      http2Frame(frameType.headers, flags.endHeaders + flags.endStream, streamId, block);
    const many = Array.from({ length: 126 }, (_, i) => field(i, 1));
    socket.send(
      head(1),
      head(3, true),
      body(1, Buffer.from("x"), true),
      headers(5, requestBlock(["UPPER", "case"])),
      headers(7, headerBlock([[":path", "/"]])),
      headers(9, requestBlock(...many)),
      headers(11, requestBlock(["x", "v".repeat(16_000)], ["y", "v".repeat(300)])),
      headers(13, requestBlock(["after", "all"])),
    );
    await eventually(() => framesOf(13).some(isEnd), "the last answer");
    const codes = [1, 3, 5, 7, 9, 11, 13].map((streamId) => resetCodeOf(framesOf(streamId)));
    expect(codes).toEqual([undefined, 7, 1, 1, 11, 11, undefined]);
    expect(owner.requests.map(({ stream }) => stream.id)).toEqual([1, 13]);
    expect(owner.idleFrameCount).toBe(5);
  });

  test("trailers end a request, and an answer before its end is followed by RST_STREAM", async () => {
    const { socket, owner, framesOf } = await open();
    const trailers = http2Frame(
      1,
      flags.endHeaders + flags.endStream,
      1,
      headerBlock([["a", "b"]]),
    );
    socket.send(head(1), body(1, Buffer.from("x")), trailers, head(3));
    await eventually(() => owner.requests.length === 2, "the requests");
    expect(owner.requests[0]?.isWhole).toBe(true);
    owner.requests[1]?.answer();
    await eventually(() => resetCodeOf(framesOf(3)) !== undefined, "the reset");
    expect(resetCodeOf(framesOf(3))).toBe(0);
    expect(framesOf(3).map(({ type }) => type)).toEqual([1, 1, frameType.reset]);
    expect(resetCodeOf(framesOf(1))).toBeUndefined();
  });

  test("listeners hear of their end once: a reset of the client, or of us, or a lost connection", async () => {
    const { socket, owner } = await open();
    socket.send(head(1), head(3), head(5));
    await eventually(() => owner.requests.length === 3, "the requests");
    owner.requests[0]?.stream.reset(8);
    socket.send(reset(3), reset(3), reset(1));
    await eventually(() => owner.requests[1]?.closings.length === 1, "the reset");
    socket.close();
    await eventually(() => owner.closedCount === 1, "the end");
    expect(owner.requests.map(({ closings }) => closings)).toEqual([[false], [true], [true]]);
    for (const { stream } of owner.requests) {
      stream.respond(Buffer.alloc(1), false);
      stream.send([Buffer.alloc(1)]);
      stream.end(Buffer.alloc(1));
      stream.reset(8);
      stream.abort();
      stream.resume();
    }
    expect(owner.requests.map(({ closings }) => closings)).toEqual([[false], [true], [true]]);
  });

  test("shut lets open streams end, refuses new ones, and takes the connection with the last", async () => {
    const clock = new FakeClock();
    const { socket, owner, session, framesOf } = await open({ clock });
    socket.send(head(1), head(3));
    await eventually(() => owner.requests.length === 2, "the requests");
    session.shut();
    session.shut();
    socket.send(head(5), body(1, Buffer.from("one"), true));
    await eventually(() => framesOf(1).some(isEnd), "the first answer");
    expect(resetCodeOf(framesOf(5))).toBe(7);
    expect(session.isOver()).toBe(false);
    socket.send(body(3, Buffer.from("two"), true));
    await eventually(() => socket.isClosed, "the end");
    expect(framesOf(3).some(isEnd)).toBe(true);
    const goaways = framesOf(0).filter(({ type }) => type === frameType.goaway);
    expect(goaways.map(({ payload }) => payload.readUInt32BE(0))).toEqual([3]);
    await eventually(() => owner.closedCount === 1, "the owner's end");
    expect(clock.timerCount()).toBe(0);
  });

  test("a later GOAWAY names no higher stream than the first", async () => {
    const { socket, owner, session, framesOf } = await open();
    socket.send(head(1));
    await eventually(() => owner.requests.length === 1, "the request");
    session.shut();
    socket.send(head(3), body(0, Buffer.alloc(1)));
    await eventually(() => socket.isClosed, "the end");
    const goaways = framesOf(0).filter(({ type }) => type === frameType.goaway);
    expect(goaways.map(({ payload }) => payload.readUInt32BE(0))).toEqual([1, 1]);
    expect(goaways.map(({ payload }) => payload.readUInt32BE(4))).toEqual([0, 1]);
  });

  test("a client in the middle of sending still gets the GOAWAY that cuts it", async () => {
    const clock = new FakeClock();
    const { socket, session, owner } = await open({ clock });
    socket.send(head(1));
    await eventually(() => owner.requests.length === 1, "the request");
    session.expel(11, "enough");
    for (let i = 0; i < 50; i++) socket.send(body(1, Buffer.alloc(16_384)));
    await eventually(() => socket.goaway()?.text === "enough", "the reason");
    await eventually(() => owner.closedCount === 1, "the end");
    expect(owner.requests[0]?.closings).toEqual([true]);
    expect(clock.timerCount()).toBe(0);
  });

  test("a client that keeps its side open is cut lingerMs after our last frame", async () => {
    const clock = new FakeClock();
    const sessions = await openSessions({ clock });
    closers.push(() => sessions.close());
    const socket = connect({ port: sessions.port, host: "127.0.0.1", allowHalfOpen: true });
    let hasEnded = false;
    socket
      .on("error", () => {})
      .on("end", () => (hasEnded = true))
      .resume();
    socket.write(Buffer.concat([preface, ping()]));
    await eventually(() => hasEnded, "our last frame");
    const [{ owner }] = sessions.served as [(typeof sessions.served)[0]];
    clock.advance(999);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(owner.closedCount).toBe(0);
    clock.advance(1);
    await eventually(() => owner.closedCount === 1, "the cut");
    expect(clock.timerCount()).toBe(0);
    socket.destroy();
  });

  test("a header block has headerBlockMs to become whole", async () => {
    const clock = new FakeClock();
    const { socket, owner, framesOf } = await open({ clock });
    const begin = (streamId: number) => http2Frame(1, flags.endStream, streamId, requestBlock());
    const end = (streamId: number) =>
      http2Frame(frameType.continuation, flags.endHeaders, streamId);
    socket.send(begin(1));
    await eventually(() => clock.timerCount() === 1, "the timer");
    clock.advance(9_999);
    socket.send(end(1));
    await eventually(() => framesOf(1).some(isEnd), "the answer");
    expect(clock.timerCount()).toBe(0);
    socket.send(begin(3));
    await eventually(() => clock.timerCount() === 1, "the next timer");
    clock.advance(10_000);
    await eventually(() => socket.isClosed, "the end");
    expect(socket.goaway()).toEqual({ code: 11, text: "header_block_timeout" });
    expect(owner.requests).toHaveLength(1);
  });

  test("ping hears the client's echo once", async () => {
    const { socket, session, owner, framesOf } = await open();
    let answerCount = 0;
    session.ping(() => answerCount++);
    await eventually(() => framesOf(0).some(({ type }) => type === frameType.ping), "the ping");
    const echo = http2Frame(frameType.ping, flags.ack, 0, Buffer.alloc(8));
    socket.send(echo, echo, ping());
    await eventually(() => owner.pingCount === 1, "the client's ping");
    expect(answerCount).toBe(1);
    const pongs = () => framesOf(0).filter(({ type, flags: bits }) => type === 6 && bits === 1);
    await eventually(() => pongs().length === 1, "the answer");
    expect(pongs()[0]?.payload).toEqual(Buffer.alloc(8, 7));
  });

  test("a client that reads no answers to its pings is cut at a bound", async () => {
    const { socket, owner } = await open();
    socket.socket.pause();
    const pings = Buffer.concat(Array<Buffer>(3_000).fill(ping()));
    let sentCount = 0;
    await eventually(() => {
      if (socket.socket.writableLength === 0 && owner.errors.length === 0) {
        socket.send(pings);
        sentCount += 3_000;
      }
      return owner.errors.length > 0;
    }, "the end");
    expect(owner.errors[0]?.message).toBe("too_many_unread_answers");
    // What the kernel takes from us and gives to nobody is its own bound.
    expect(owner.pingCount).toBeLessThanOrEqual(sentCount);
    await eventually(() => owner.closedCount === 1, "the owner's end");
  });

  test("malformed requests and empty DATA are tolerated so many times", async () => {
    const { socket } = await open({ limits: { invalidFramesMax: 3 } });
    socket.send(head(1), ...Array<Buffer>(3).fill(body(1, Buffer.alloc(0))));
    socket.send(body(1, Buffer.alloc(0), true), ping());
    const isPong = ({ type }: ReceivedFrame) => type === frameType.ping;
    await eventually(() => socket.frames().some(isPong), "the answer");
    expect(socket.goaway()).toBeNull();
    socket.send(head(3), body(3, Buffer.alloc(0)));
    await eventually(() => socket.isClosed, "the end");
    expect(socket.goaway()).toEqual({ code: 11, text: "too_many_invalid_frames" });
  });

  test("a client that sends without end leaves every turn to others", async () => {
    let turnBytes = 0;
    let turnBytesMost = 0;
    const { socket, owner } = await open({
      limits: { streamWindowBytes: 2 ** 24, connectionWindowBytes: 2 ** 24 },
      read: (_request, chunk) => {
        turnBytes += chunk.length;
        turnBytesMost = Math.max(turnBytesMost, turnBytes);
      },
    });
    const isDone = () => owner.requests[0]?.isWhole === true;
    const count = () => {
      turnBytes = 0;
      if (!isDone()) setImmediate(count);
    };
    setImmediate(count);
    const part = body(1, Buffer.alloc(16_384));
    socket.send(head(1), ...Array<Buffer>(600).fill(part), body(1, Buffer.alloc(1), true));
    await eventually(isDone, "the whole request");
    expect(owner.requests[0]?.body()).toHaveLength(600 * 16_384 + 1);
    expect(turnBytesMost).toBeLessThanOrEqual(4 * 65_536);
  });

  test("one SETTINGS frame changes windows once, however often it names them", async () => {
    const { socket, owner, framesOf } = await open({ finish: () => {} });
    socket.send(settings([settingId.initialWindow, 0]), head(1, true));
    await eventually(() => owner.requests.length === 1, "the request");
    owner.requests[0]?.answer(Buffer.from("held"));
    const flips = Array.from(
      { length: 2_700 },
      (_, i) => [settingId.initialWindow, i % 2] as const,
    );
    socket.send(settings(...flips), ping());
    await eventually(() => framesOf(1).length >= 2, "a byte");
    await eventually(() => owner.pingCount === 1, "the ping");
    const sent = framesOf(1).filter(({ type }) => type === frameType.data);
    expect(Buffer.concat(sent.map(({ payload }) => payload)).toString()).toBe("h");
    expect(owner.settledCount).toBe(3);
  });

  test("a socket that is gone already ends the session", async () => {
    const sessions = await openSessions();
    closers.push(() => sessions.close());
    const socket = await RawSocket.connect(sessions.port);
    await eventually(() => sessions.served.length === 1, "the session");
    socket.socket.resetAndDestroy();
    await eventually(() => sessions.served[0]?.owner.closedCount === 1, "the end");
    sessions.served[0]?.session.shut();
    sessions.served[0]?.session.expel(11, "late");
    expect(sessions.served[0]?.owner.closedCount).toBe(1);
  });
});
