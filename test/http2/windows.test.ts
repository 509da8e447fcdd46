// Flow control both ways (RFC 9113, 5.2) by frames made by hand: no byte beyond a window, no window
// lost, no stream that waits for ever or for its neighbours.
// Covers "src/http2/server-stream.ts", "src/http2/send-turns.ts" and "src/http2/receive-window.ts".
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { ReceiveWindow } from "../../src/http2/receive-window.ts";
import { eventually } from "../grpc/loopback-server.ts";
import type { RawSocket } from "../grpc/raw-frames.ts";
import { frameType, http2Frame } from "../grpc/raw-frames.ts";
import {
  body,
  flags,
  head,
  openRaw,
  ping,
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
  const raw = await openRaw(options);
  closers.push(() => raw.close());
  return raw;
}

function bodyBytes(socket: RawSocket, streamId?: number): number {
  let bytes = 0;
  for (const frame of socket.frames()) {
    if (frame.type !== frameType.data) continue;
    if (streamId === undefined || frame.streamId === streamId) bytes += frame.payload.length;
  }
  return bytes;
}

function isEnded(socket: RawSocket, streamId: number): boolean {
  return socket
    .frames()
    .some((frame) => frame.streamId === streamId && frame.type === 1 && (frame.flags & 1) === 1);
}

/** What the session had to say before it answers this ping has come. */
async function settle(socket: RawSocket): Promise<void> {
  const pongCount = () =>
    socket.frames().filter(({ type, flags: bits }) => type === 6 && bits === 1);
  const before = pongCount().length;
  socket.send(ping());
  await eventually(() => pongCount().length > before, "the echo");
}

function given(socket: RawSocket, streamId: number): number {
  return socket
    .frames()
    .filter((frame) => frame.type === frameType.windowUpdate && frame.streamId === streamId)
    .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);
}

describe("windows of the client", () => {
  test("a body goes as far as the stream's window and the connection's, and no further", async () => {
    const { socket, owner } = await open();
    socket.send(settings([settingId.initialWindow, 10]), head(1, true), head(3, true));
    await eventually(() => owner.requests.length === 2, "the requests");
    owner.requests[0]?.answer(Buffer.alloc(100));
    owner.requests[1]?.answer(Buffer.alloc(200_000));
    await settle(socket);
    expect([bodyBytes(socket, 1), bodyBytes(socket, 3)]).toEqual([10, 10]);
    socket.send(windowUpdate(1, 89));
    await settle(socket);
    expect(bodyBytes(socket, 1)).toBe(99);
    expect(isEnded(socket, 1)).toBe(false);
    socket.send(windowUpdate(1, 1), windowUpdate(3, 1_000_000));
    await eventually(() => isEnded(socket, 1), "the first end");
    await settle(socket);
    await eventually(() => bodyBytes(socket) === 65_535, "all of the connection's window");
    await settle(socket);
    expect(bodyBytes(socket)).toBe(65_535);
    socket.send(windowUpdate(0, 1_000_000));
    await eventually(() => isEnded(socket, 3), "the second end");
    expect(bodyBytes(socket, 3)).toBe(200_000);
  });

  test("a window that SETTINGS take back below zero opens from where it was", async () => {
    const { socket, owner } = await open();
    socket.send(head(1, true));
    await eventually(() => owner.requests.length === 1, "the request");
    owner.requests[0]?.stream.respond(Buffer.from([0x88]), false);
    owner.requests[0]?.stream.send([Buffer.alloc(1_000)]);
    socket.send(settings([settingId.initialWindow, 100]));
    await eventually(() => owner.settledCount === 2, "the SETTINGS");
    owner.requests[0]?.stream.send([Buffer.alloc(50)]);
    owner.requests[0]?.stream.end(Buffer.from([0x88]));
    socket.send(windowUpdate(1, 900));
    await settle(socket);
    expect(bodyBytes(socket)).toBe(1_000);
    socket.send(windowUpdate(1, 1));
    await eventually(() => bodyBytes(socket) === 1_001, "one byte");
    socket.send(settings([settingId.initialWindow, 149]));
    await eventually(() => isEnded(socket, 1), "the end");
    expect(bodyBytes(socket)).toBe(1_050);
  });

  test("small answers do not wait for large ones, and large ones take turns", async () => {
    const { socket, owner } = await open();
    const ids = [1, 3, 5, 7, 9];
    const large = 300_000;
    socket.send(settings([settingId.initialWindow, 2 ** 30]), windowUpdate(0, 2 ** 30));
    socket.send(...[...ids, 11].map((streamId) => head(streamId, true)));
    await eventually(() => owner.requests.length === 6, "the requests");
    for (const request of owner.requests.slice(0, 5)) request.answer(Buffer.alloc(large));
    owner.requests[5]?.answer(Buffer.from("small"));
    await eventually(() => ids.every((streamId) => isEnded(socket, streamId)), "the ends");
    const order = socket.frames().filter(({ type }) => type === frameType.data);
    const placeOfSmall = order.findIndex(({ streamId }) => streamId === 11);
    expect(placeOfSmall).toBeLessThan(20);
    const turns = order.map(({ streamId }) => streamId).filter((streamId) => streamId !== 11);
    const from = turns.indexOf(9);
    for (let at = from; at < from + 50; at += 5) {
      expect(new Set(turns.slice(at, at + 5)).size, `turn ${at}`).toBe(5);
    }
    for (const streamId of ids) expect(bodyBytes(socket, streamId)).toBe(large);
  });

  test("answers wait in the session, not in the socket, while the client does not read", async () => {
    const { socket, owner } = await open();
    socket.socket.pause();
    socket.send(settings([settingId.initialWindow, 2 ** 30]), windowUpdate(0, 2 ** 30));
    for (let streamId = 1; streamId < 100; streamId += 2) socket.send(head(streamId, true));
    await eventually(() => owner.requests.length === 50, "the requests");
    for (const request of owner.requests) request.answer(Buffer.alloc(1_000_000));
    const queuedBytes = () =>
      owner.requests.reduce((sum, { stream }) => sum + stream.queuedBytes(), 0);
    let last = -1;
    await eventually(() => {
      const isStill = last === queuedBytes();
      last = queuedBytes();
      return isStill && last < 50_000_000;
    }, "the kernel's buffers to fill");
    // Kernels take a few megabytes of a connection; of the rest 64 KiB and a frame are with Node.
    expect(queuedBytes()).toBeGreaterThan(25_000_000);
    socket.socket.resume();
    await eventually(
      () => owner.requests.every(({ closings }) => closings.length === 1),
      "the ends",
    );
    expect(owner.requests.flatMap(({ closings }) => closings)).toEqual(Array(50).fill(false));
    expect(queuedBytes()).toBe(0);
  });

  test("a stream that is reset leaves its queue, and its neighbours go on", async () => {
    const { socket, owner } = await open();
    socket.send(settings([settingId.initialWindow, 2 ** 20]), head(1, true), head(3, true));
    await eventually(() => owner.requests.length === 2, "the requests");
    for (const request of owner.requests) request.answer(Buffer.alloc(100_000));
    await eventually(() => bodyBytes(socket) === 65_535, "the connection's window");
    socket.send(reset(1), windowUpdate(0, 2 ** 20));
    await eventually(() => isEnded(socket, 3), "the end");
    expect(owner.requests[0]?.stream.queuedBytes()).toBe(0);
    expect(bodyBytes(socket, 1)).toBeLessThan(100_000);
    expect(bodyBytes(socket, 3)).toBe(100_000);
  });
});

describe("windows of ours", () => {
  test("what is read is given back by halves, padding and all", async () => {
    const { socket, owner } = await open({
      limits: { streamWindowBytes: 100_000, connectionWindowBytes: 200_000 },
    });
    const first = given(socket, 0);
    expect(first).toBe(200_000 - 65_535);
    socket.send(head(1));
    const padded = http2Frame(
      0,
      flags.padded,
      1,
      Buffer.concat([Buffer.from([99]), Buffer.alloc(999)]),
    );
    for (let i = 0; i < 50; i++) socket.send(padded);
    await settle(socket);
    expect(given(socket, 1)).toBe(50_000);
    expect(given(socket, 0) - first).toBe(0);
    for (let i = 0; i < 50; i++) socket.send(padded);
    await settle(socket);
    expect(given(socket, 1)).toBe(100_000);
    expect(given(socket, 0) - first).toBe(100_000);
    expect(owner.requests[0]?.body()).toHaveLength(100 * 900);
  });

  test("a paused stream holds one window, gets it in order when it resumes, and its end last", async () => {
    const { socket, owner } = await open({
      limits: { connectionWindowBytes: 1_000_000 },
      read: ({ stream, chunks }) => {
        if (chunks.length % 3 === 1) stream.pause();
      },
    });
    socket.send(head(1));
    const sent = Buffer.from(Array.from({ length: 65_535 }, (_, i) => i % 251));
    for (let at = 0; at < sent.length; at += 5_000) {
      const part = sent.subarray(at, at + 5_000);
      socket.send(body(1, part, at + part.length === sent.length));
    }
    await settle(socket);
    const [request] = owner.requests;
    expect(request?.body()).toHaveLength(5_000);
    expect(request?.isWhole).toBe(false);
    await eventually(() => {
      request?.stream.resume();
      return request?.isWhole === true;
    }, "the end");
    expect(request?.body().equals(sent)).toBe(true);
  });

  test("a client that sends more than a paused stream may hold is cut", async () => {
    const { socket, owner } = await open({ limits: { connectionWindowBytes: 1_000_000 } });
    socket.send(head(1));
    await eventually(() => owner.requests.length === 1, "the request");
    owner.requests[0]?.stream.pause();
    for (let i = 0; i < 4; i++) socket.send(body(1, Buffer.alloc(16_383)));
    await settle(socket);
    expect(socket.goaway()).toBeNull();
    socket.send(body(1, Buffer.alloc(4)));
    await eventually(() => socket.isClosed, "the end");
    expect(socket.goaway()).toEqual({ code: 3, text: "more DATA than the window allows" });
    expect(owner.requests[0]?.closings).toEqual([true]);
  });

  test("paused streams together hold one window of the connection, and no more", async () => {
    const { socket, owner } = await open({ limits: { connectionWindowBytes: 100_000 } });
    socket.send(head(1), head(3));
    await eventually(() => owner.requests.length === 2, "the requests");
    for (const { stream } of owner.requests) stream.pause();
    for (let i = 0; i < 6; i++) socket.send(body(i % 2 === 0 ? 1 : 3, Buffer.alloc(16_384)));
    await settle(socket);
    expect(socket.goaway()).toBeNull();
    socket.send(body(1, Buffer.alloc(10_000)));
    await eventually(() => socket.isClosed, "the end");
    expect(socket.goaway()?.code).toBe(3);
  });

  test("what a stream held when it was reset goes back to the connection", async () => {
    const { socket, owner } = await open();
    for (let streamId = 1; streamId < 21; streamId += 2) {
      socket.send(head(streamId));
      await eventually(() => owner.requests.length === (streamId + 1) / 2, "the request");
      owner.requests.at(-1)?.stream.pause();
      for (let i = 0; i < 3; i++) socket.send(body(streamId, Buffer.alloc(16_384)));
      socket.send(reset(streamId), body(streamId, Buffer.alloc(10_000)));
      await settle(socket);
    }
    expect(socket.goaway()).toBeNull();
    expect(given(socket, 0)).toBeGreaterThan(10 * 59_152 - 32_768);
    for (const { closings, chunks } of owner.requests) {
      expect(closings).toEqual([true]);
      expect(chunks).toEqual([]);
    }
  });
});

describe("ReceiveWindow", () => {
  test("never lets the client's window run dry for a reader that keeps up, and never over-gives", () => {
    const amounts = fc.array(fc.integer({ min: 0, max: 32_000 }), { maxLength: 100 });
    fc.assert(
      fc.property(fc.integer({ min: 65_535, max: 2 ** 20 }), amounts, (bytesMax, reads) => {
        const window = new ReceiveWindow(bytesMax);
        let clientMay = bytesMax;
        for (const bytes of reads) {
          expect(window.maybeReceive(bytes)).toBe(true);
          clientMay += window.read(bytes) - bytes;
          expect(clientMay).toBeGreaterThan(bytesMax / 2 - 1);
          expect(clientMay).toBeLessThanOrEqual(bytesMax);
        }
        expect(window.maybeReceive(clientMay)).toBe(true);
        expect(window.maybeReceive(1)).toBe(false);
      }),
    );
  });
});
