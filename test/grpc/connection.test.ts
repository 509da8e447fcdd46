// Clients that misbehave on one connection (X5-X9): each is told why and cut, and the server
// serves the next one. Frames are made by hand: no library sends these.
// Covers "src/grpc/connection.ts".
import { afterEach, describe, expect, test } from "vitest";
import type { Method } from "../../src/api/method.ts";
import type { GrpcLimits } from "../../src/grpc/limits.ts";
import { FakeClock } from "../sim/fake-clock.ts";
import { eventually, openLoopback } from "./loopback-server.ts";
import { frameOf, RawClient } from "./raw-client.ts";
import {
  frameType,
  headerBlock,
  http2Frame,
  preface,
  RawSocket,
  requestHeaders,
} from "./raw-frames.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const path = "/test.Echo/Call";
const enhanceYourCalm = 11;
const endHeaders = 4;
const endBoth = 5;
const settings = http2Frame(frameType.settings, 0, 0);
const ping = http2Frame(frameType.ping, 0, 0, Buffer.alloc(8));
const cancel = Buffer.from([0, 0, 0, 8]);

async function open(limits: Partial<GrpcLimits> = {}, clock?: FakeClock) {
  let calls = 0;
  const echo: Method = {
    kind: "unary",
    async handle(request) {
      calls++;
      return request;
    },
  };
  const stream: Method = {
    kind: "stream",
    handle: (_requests, _sink, { signal }) =>
      new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
  };
  const say: Method = {
    kind: "stream",
    async handle(_requests, sink) {
      sink.write(Buffer.from("said"));
    },
  };
  const methods: [string, Method][] = [
    [path, echo],
    ["/test.Echo/Say", say],
    ["/test.Echo/Hang", stream],
  ];
  const server = await openLoopback(methods, limits, clock);
  closers.push(() => server.close());
  const socket = await RawSocket.connect(server.port);
  closers.push(async () => socket.close());
  return { ...server, socket, callCount: () => calls };
}

/** Another client is served, and the process has no open connection of the first. */
async function expectServing(server: { readonly port: number }): Promise<void> {
  const client = await RawClient.connect(server.port);
  expect((await client.unary(path, Buffer.from("still here"))).status).toBe(0);
  await client.close();
}

describe("connection", () => {
  test("a wrong preface and random bytes close the connection, nothing else", async () => {
    const server = await open();
    for (const garbage of [
      "GET / HTTP/1.1\r\n\r\n",
      "\u0016\u0003\u0001\u0002",
      "PRI * HTTP/2.0",
    ]) {
      const socket = await RawSocket.connect(server.port);
      socket.send(Buffer.from(garbage, "latin1"), Buffer.alloc(64, 0xff));
      await eventually(() => socket.isClosed, `the end of ${JSON.stringify(garbage)}`);
    }
    const half = await RawSocket.connect(server.port);
    half.send(preface, settings, Buffer.from([0, 0, 50, 1, 4, 0]));
    half.socket.resetAndDestroy();
    await expectServing(server);
  });

  test("a client that sends no SETTINGS is cut after handshakeMs", async () => {
    const clock = new FakeClock();
    const server = await open({ handshakeMs: 5_000 }, clock);
    await eventually(() => server.server.connectionCount() === 1, "the connection");
    clock.advance(4_999);
    expect(server.server.connectionCount()).toBe(1);
    clock.advance(1);
    await eventually(() => server.socket.isClosed, "the cut");
  });

  test("pings in a row end in GOAWAY too_many_pings", async () => {
    const server = await open();
    server.socket.send(preface, settings, ping, ping, ping);
    await eventually(() => server.socket.frames().length >= 5, "the answers");
    expect(server.socket.goaway()).toBeNull();
    server.socket.send(ping);
    await eventually(() => server.socket.isClosed, "the end");
    expect(server.socket.goaway()).toEqual({ code: enhanceYourCalm, text: "too_many_pings" });
    await expectServing(server);
  });

  test("pings between answers are welcome", async () => {
    const server = await open();
    server.socket.send(preface, settings);
    for (let i = 0; i < 10; i++) {
      const streamId = 2 * i + 1;
      server.socket.send(
        ping,
        http2Frame(frameType.headers, endHeaders, streamId, requestHeaders(path)),
        http2Frame(frameType.data, 1, streamId, frameOf(Buffer.from("x"))),
      );
      await eventually(() => server.callCount() === i + 1, "the call");
      const answered = ({ type, streamId: id }: { type: number; streamId: number }) =>
        type === frameType.headers && id === streamId;
      await eventually(() => server.socket.frames().some(answered), "the answer");
    }
    expect(server.socket.goaway()).toBeNull();
  });

  test("rapid resets end in GOAWAY", async () => {
    const server = await open();
    const frames: Buffer[] = [preface, settings];
    for (let i = 0; i < 950; i++) {
      frames.push(
        http2Frame(frameType.headers, endHeaders, 2 * i + 1, requestHeaders(path)),
        http2Frame(frameType.reset, 0, 2 * i + 1, cancel),
      );
    }
    server.socket.send(...frames);
    await eventually(() => server.socket.isClosed, "the end");
    expect(server.socket.goaway()).toEqual({ code: enhanceYourCalm, text: "too_many_resets" });
    expect(server.callCount()).toBe(0);
    await expectServing(server);
  });

  test("a few cancelled calls are no offence", async () => {
    const server = await open();
    const client = await RawClient.connect(server.port);
    for (let i = 0; i < 100; i++) client.open(path).reset();
    expect((await client.unary(path, Buffer.from("x"))).status).toBe(0);
    expect(client.goaway).toBeNull();
    await client.close();
  });

  test("a flood of SETTINGS ends in GOAWAY", async () => {
    const server = await open({ idleFrameBurstMax: 50 });
    server.socket.send(preface, ...Array<Buffer>(60).fill(settings));
    await eventually(() => server.socket.isClosed, "the end");
    expect(server.socket.goaway()).toEqual({
      code: enhanceYourCalm,
      text: "too_many_idle_frames",
    });
    await expectServing(server);
  });

  test("a message in one-byte DATA frames is taken, a flood of them is not", async () => {
    const server = await open({ idleFrameBurstMax: 500 });
    const pieces = (streamId: number, bytes: Buffer) =>
      [...bytes].map((byte, i) =>
        http2Frame(frameType.data, i + 1 === bytes.length ? 1 : 0, streamId, Buffer.from([byte])),
      );
    server.socket.send(preface, settings);
    server.socket.send(http2Frame(frameType.headers, endHeaders, 1, requestHeaders(path)));
    server.socket.send(...pieces(1, frameOf(Buffer.alloc(100))));
    await eventually(() => server.callCount() === 1, "the call");
    server.socket.send(http2Frame(frameType.headers, endHeaders, 3, requestHeaders(path)));
    server.socket.send(...pieces(3, frameOf(Buffer.alloc(2_000))));
    await eventually(() => server.socket.isClosed, "the end");
    expect(server.socket.goaway()?.text).toBe("too_many_idle_frames");
    expect(server.callCount()).toBe(1);
    await expectServing(server);
  });

  test("large messages with short ends cost nothing, nor do heads of their own", async () => {
    const server = await open({ idleFrameBurstMax: 3, idleFramesPerSecondMax: 0 });
    server.socket.send(preface, settings);
    const message = frameOf(Buffer.alloc(110));
    for (let streamId = 1; streamId < 40; streamId += 2) {
      server.socket.send(
        http2Frame(frameType.headers, endHeaders, streamId, requestHeaders(path)),
        http2Frame(frameType.data, 0, streamId, message.subarray(0, 5)),
        http2Frame(frameType.data, 0, streamId, message.subarray(5, 105)),
        http2Frame(frameType.data, 1, streamId, message.subarray(105)),
      );
    }
    await eventually(() => server.callCount() === 20, "the calls");
    expect(server.socket.goaway()).toBeNull();
  });

  test("a flood of empty DATA frames closes the connection", async () => {
    const server = await open();
    const empty = http2Frame(frameType.data, 0, 1);
    server.socket.send(preface, settings);
    server.socket.send(http2Frame(frameType.headers, endHeaders, 1, requestHeaders(path)));
    server.socket.send(...Array<Buffer>(200).fill(empty));
    await eventually(() => server.socket.isClosed, "the end");
    await expectServing(server);
  });

  test("a flood of small DATA for a call that is over but not read ends in GOAWAY", async () => {
    const server = await open({ idleFrameBurstMax: 50 });
    const noWindow = Buffer.from([0, 4, 0, 0, 0, 0]);
    server.socket.send(preface, http2Frame(frameType.settings, 0, 0, noWindow));
    server.socket.send(
      http2Frame(frameType.headers, endHeaders, 1, requestHeaders("/test.Echo/Say")),
    );
    await eventually(() => server.finished.length === 1, "the end of the call");
    const large = http2Frame(frameType.data, 0, 1, Buffer.alloc(1_000));
    const small = http2Frame(frameType.data, 0, 1, Buffer.alloc(1));
    server.socket.send(...Array<Buffer>(60).fill(large), ...Array<Buffer>(40).fill(small), ping);
    const isPong = ({ type }: { type: number }) => type === frameType.ping;
    await eventually(() => server.socket.frames().some(isPong), "the answer");
    expect(server.socket.goaway()).toBeNull();
    server.socket.send(...Array<Buffer>(20).fill(small));
    await eventually(() => server.socket.isClosed, "the end");
    expect(server.socket.goaway()?.text).toBe("too_many_idle_frames");
  });

  test("headers beyond size or count are refused, and never reach a handler", async () => {
    const server = await open();
    const field = (i: number, bytes: number): [string, string] => [`x-${i}`, "v".repeat(bytes)];
    const large = Array.from({ length: 20 }, (_, i) => field(i, 1_000));
    const many = Array.from({ length: 200 }, (_, i) => field(i, 1));
    server.socket.send(preface, settings);
    for (const [i, fields] of [large, many].entries()) {
      const block = Buffer.concat([requestHeaders(path), headerBlock(fields)]);
      const streamId = 2 * i + 1;
      // This client never acknowledges our SETTINGS.
      server.socket.send(
        http2Frame(frameType.headers, 1, streamId, block.subarray(0, 1_000)),
        http2Frame(frameType.continuation, 0, streamId, block.subarray(1_000, 16_000)),
        http2Frame(frameType.continuation, endHeaders, streamId, block.subarray(16_000)),
      );
      const isReset = ({ type, streamId: id }: { type: number; streamId: number }) =>
        type === frameType.reset && id === streamId;
      await eventually(
        () => server.socket.frames().some(isReset) || server.socket.isClosed,
        "the refusal",
      );
    }
    expect(server.callCount()).toBe(0);
    await expectServing(server);
  });

  test("an endless header block closes the connection", async () => {
    const server = await open();
    const block = headerBlock([["x", "v".repeat(1_000)]]);
    const more = http2Frame(frameType.continuation, 0, 1, block);
    server.socket.send(preface, settings);
    server.socket.send(http2Frame(frameType.headers, 0, 1, requestHeaders(path)));
    for (let i = 0; i < 200 && !server.socket.isClosed; i++) {
      server.socket.send(more);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => server.socket.isClosed, "the end");
    await expectServing(server);
  });

  test("streams over the limit are refused one by one, the others live", async () => {
    const server = await open({ streamsPerConnectionMax: 3 });
    server.socket.send(preface, settings);
    const hang = requestHeaders("/test.Echo/Hang");
    for (let i = 0; i < 4; i++) {
      server.socket.send(http2Frame(frameType.headers, endBoth, 2 * i + 1, hang));
    }
    const resets = () => server.socket.frames().filter(({ type }) => type === frameType.reset);
    await eventually(() => resets().length === 1 || server.socket.isClosed, "the refusal");
    expect(resets().map(({ streamId }) => streamId)).toEqual([7]);
  });

  test("a client that vanished is found by our ping", async () => {
    const clock = new FakeClock();
    const server = await open({ keepaliveIntervalMs: 60_000, keepaliveTimeoutMs: 20_000 }, clock);
    server.socket.send(preface, settings);
    const isAck = ({ type, flags }: { type: number; flags: number }) =>
      type === frameType.settings && flags === 1;
    await eventually(() => server.socket.frames().some(isAck), "the handshake");
    clock.advance(60_000);
    const pings = () => server.socket.frames().filter(({ type }) => type === frameType.ping);
    await eventually(() => pings().length === 1, "the ping");
    const { payload } = pings()[0] ?? { payload: Buffer.alloc(8) };
    server.socket.send(http2Frame(frameType.ping, 1, 0, payload));
    await eventually(() => {
      clock.advance(1_000);
      return pings().length === 2;
    }, "the next ping");
    clock.advance(20_000);
    await eventually(() => server.socket.isClosed, "the end");
  });
});
