// Frames between two members over a real socket pair: any chunking, the bounds, silence, farewell.
import { createServer, connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { frameKind, Link } from "../../src/peer/link.ts";
import { peerLimits } from "../../src/peer/peer-limits.ts";
import { realClock } from "../../src/server/real-clock.ts";
import { FakeClock } from "../sim/fake-clock.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close();
});

/** Both ends of one connection. */
async function pair(): Promise<[Socket, Socket]> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const dialed = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const sockets: [Socket, Socket] = [dialed, await accepted];
  server.close();
  for (const socket of sockets) closing.push(() => socket.destroy());
  return sockets;
}

function open(socket: Socket, clock: Clock = realClock) {
  const frames: { kind: number; payload: Buffer }[] = [];
  const causes: string[] = [];
  const link = new Link(clock, socket, {
    frame: (kind, payload) => void frames.push({ kind, payload }),
    closed: (cause) => void causes.push(cause),
  });
  return { link, frames, causes };
}

const until = (condition: () => boolean) =>
  vi.waitUntil(condition, { timeout: 10_000, interval: 5 });

function frameBytes(kind: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32LE(payload.length, 0);
  head[4] = kind;
  return Buffer.concat([head, payload]);
}

test("Link gives frames whole and in order, however their bytes are cut", async () => {
  const [raw, socket] = await pair();
  const { frames, link } = open(socket);
  link.trust();
  const payloads = [0, 1, 5, 70_000, 3].map((bytes, i) => Buffer.alloc(bytes, i + 1));
  const bytes = Buffer.concat(payloads.map((payload) => frameBytes(frameKind.messages, payload)));
  for (const size of [1, 2, 4, 7, 65_536, bytes.length]) {
    frames.length = 0;
    // The first bytes one by one, so that heads are cut at every place.
    for (let at = 0; at < bytes.length; at += at < 40 ? Math.min(size, 4) : 65_536) {
      const end = at < 40 ? at + Math.min(size, 4) : at + 65_536;
      raw.write(bytes.subarray(at, end));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => frames.length === payloads.length);
    expect(frames.map(({ payload }) => payload)).toEqual(payloads);
  }
});

test("Link carries both ways, and tells when a frame was given to the system", async () => {
  const [one, other] = await pair();
  const a = open(one);
  const b = open(other);
  a.link.trust();
  b.link.trust();
  const large = Buffer.alloc(1 << 20, 7);
  let writtenCount = 0;
  a.link.write(frameKind.messages, large, () => writtenCount++);
  b.link.write(frameKind.answer, Uint8Array.of(1, 2), () => writtenCount++);
  await until(() => a.frames.length === 1 && b.frames.length === 1 && writtenCount === 2);
  expect(b.frames[0]?.payload.equals(large)).toBe(true);
  expect(a.frames).toEqual([{ kind: frameKind.answer, payload: Buffer.from([1, 2]) }]);
});

test("Link takes no large frame from a stranger, and none beyond the bound from a member", async () => {
  for (const isTrusted of [false, true]) {
    const [raw, socket] = await pair();
    const { link, frames, causes } = open(socket);
    if (isTrusted) link.trust();
    const head = Buffer.alloc(5);
    const { handshakeBytesMax, frameBytesMax } = peerLimits;
    head.writeUInt32LE(1 + (isTrusted ? frameBytesMax : handshakeBytesMax), 0);
    raw.write(head.subarray(0, 3));
    raw.write(head.subarray(3));
    await until(() => causes.length === 1);
    expect(causes[0]).toMatch(/a frame of \d+ bytes came/);
    expect(frames).toEqual([]);
  }
});

test("Link says why it ends, and the other side hears it", async () => {
  const [one, other] = await pair();
  const a = open(one);
  const b = open(other);
  a.link.write(frameKind.hello, Uint8Array.of(1));
  a.link.end("the member is starting");
  await until(() => b.causes.length === 1 && a.causes.length === 1);
  expect(b.causes).toEqual(["the member is starting"]);
  expect(b.frames).toHaveLength(1);
});

test("Link pings, and ends a connection on which nothing is heard", async () => {
  const clock = new FakeClock();
  const [raw, socket] = await pair();
  let heardBytes = 0;
  raw.on("data", (chunk: Buffer) => (heardBytes += chunk.length));
  const { causes } = open(socket, clock);
  clock.advance(peerLimits.pingMs);
  await until(() => heardBytes === 5);
  // Someone who speaks stays.
  raw.write(frameBytes(frameKind.ping, Buffer.alloc(0)));
  await until(() => socket.bytesRead === 5);
  for (let i = 0; i < 2; i++) clock.advance(peerLimits.pingMs);
  expect(causes).toEqual([]);
  clock.advance(peerLimits.pingMs);
  await until(() => causes.length === 1);
  expect(causes[0]).toMatch(/nothing was heard/);
  expect(clock.timerCount()).toBe(0);
});
