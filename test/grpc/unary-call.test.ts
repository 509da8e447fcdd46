// Unary calls over a real socket, spoken by hand: what a client sees for each way a call can go.
// Covers "src/grpc/unary-call.ts", "src/grpc/message-reader.ts" and "src/grpc/call.ts".
import { afterEach, describe, expect, test } from "vitest";
import type { CallContext, Method } from "../../src/api/method.ts";
import { AssertionError } from "../../src/base/assert.ts";
import { RequestError } from "../../src/base/errors.ts";
import { FakeClock } from "../sim/fake-clock.ts";
import { eventually, openLoopback } from "./loopback-server.ts";
import type { LoopbackServer } from "./loopback-server.ts";
import { frameOf, RawClient } from "./raw-client.ts";
import { frameType, http2Frame, preface, RawSocket, requestHeaders } from "./raw-frames.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

type Handle = (request: Uint8Array, context: CallContext) => Promise<Uint8Array>;

async function open(
  answer: Handle,
  ...rest: [Parameters<typeof openLoopback>[1]?, Parameters<typeof openLoopback>[2]?]
): Promise<{ server: LoopbackServer; client: RawClient }> {
  const method: Method = { kind: "unary", handle: answer };
  const server = await openLoopback([["/test.Echo/Call", method]], ...rest);
  closers.push(() => server.close());
  const client = await RawClient.connect(server.port);
  closers.push(() => client.close());
  return { server, client };
}

const echo: Handle = async (request) => request;
const path = "/test.Echo/Call";

describe("unary call", () => {
  test("serveUnary answers one header block, one message, OK trailers", async () => {
    const { client, server } = await open(echo);
    const answer = await client.unary(path, Buffer.from("hello"));
    expect(answer).toMatchObject({ httpStatus: 200, status: 0, text: "", isTrailersOnly: false });
    expect(answer.headers["content-type"]).toBe("application/grpc");
    expect(answer.headers["date"]).toBeUndefined();
    expect(answer.messages.map(String)).toEqual(["hello"]);
    expect(server.finished).toEqual([0]);
  });

  test("serveUnary carries empty, split and large messages unchanged", async () => {
    const { client } = await open(echo);
    for (const bytes of [0, 1, 16_384, 16_385, 300_000, 2_097_152]) {
      const message = Buffer.alloc(bytes, "k");
      const answer = await client.unary(path, message);
      expect(answer.status).toBe(0);
      expect(answer.messages[0]?.equals(message), `${bytes} bytes`).toBe(true);
    }
    const call = client.open(path);
    for (const byte of frameOf(Buffer.from("split"))) {
      call.send(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await call.halfClose().answer()).messages.map(String)).toEqual(["split"]);
  });

  test("serveUnary refuses a message over the limit before it has arrived", async () => {
    const { client } = await open(echo, { messageBytesMax: 100 });
    const call = client.open(path).send(frameOf(Buffer.alloc(101)).subarray(0, 5));
    expect(await call.answer()).toMatchObject({
      status: 8,
      text: "grpc: received message larger than max (101 vs. 100)",
      isTrailersOnly: true,
      resetCode: 0,
    });
    expect((await client.unary(path, Buffer.alloc(100))).status).toBe(0);
  });

  test("serveUnary wants exactly one whole message", async () => {
    const { client } = await open(echo);
    expect(await client.open(path).halfClose().answer()).toMatchObject({
      status: 13,
      text: "cardinality violation: received no request message for non-client-streaming RPC",
    });
    const two = client.open(path).send(Buffer.concat([frameOf(echoBytes), frameOf(echoBytes)]));
    expect(await two.halfClose().answer()).toMatchObject({
      status: 13,
      text: "cardinality violation: received multiple request messages for non-client-streaming RPC",
    });
    const cut = client.open(path).send(frameOf(Buffer.alloc(10)).subarray(0, 9));
    expect(await cut.halfClose().answer()).toMatchObject({ status: 13, text: "unexpected EOF" });
  });

  test("serveUnary refuses compressed messages, encodings and content types", async () => {
    const { client } = await open(echo);
    const compressed = client.open(path).send(frameOf(echoBytes, 1)).halfClose();
    expect(await compressed.answer()).toMatchObject({
      status: 13,
      text: "grpc: compressed flag set with identity or empty encoding",
    });
    const encoded = await client.unary(path, echoBytes, { "grpc-encoding": "gzip" });
    expect(encoded).toMatchObject({ status: 12, httpStatus: 200 });
    expect(encoded.headers["grpc-accept-encoding"]).toBe("identity");
    const json = await client.unary(path, echoBytes, { "content-type": "application/json" });
    expect(json).toMatchObject({ httpStatus: 415, status: 3 });
    const get = await client.open(path, { ":method": "GET" }).answer();
    expect(get).toMatchObject({ httpStatus: 405 });
  });

  test("a handler's refusal is its status and text, percent-encoded", async () => {
    const { client } = await open(async () => {
      throw RequestError.worded(3, "100% größer\n");
    });
    expect(await client.unary(path, echoBytes)).toMatchObject({
      status: 3,
      text: "100% größer\n",
      isTrailersOnly: true,
    });
  });

  test("a handler's other error is logged and answered as Internal without its text", async () => {
    const { client, server } = await open(async () => {
      throw new TypeError("secret");
    });
    const answer = await client.unary(path, echoBytes);
    expect(answer.status).toBe(13);
    expect(answer.text).not.toContain("secret");
    expect(server.errors).toHaveLength(1);
    expect(server.fatalErrors).toEqual([]);
  });

  test("a handler's broken invariant goes to fatal", async () => {
    const { client, server } = await open(async () => {
      throw new AssertionError("applied twice");
    });
    await client.unary(path, echoBytes);
    expect(server.fatalErrors).toEqual([new AssertionError("applied twice")]);
  });

  test("the deadline ends the call, aborts its signal and drops a late answer", async () => {
    const clock = new FakeClock();
    const seen: CallContext[] = [];
    let answerLate: (bytes: Uint8Array) => void = () => {};
    const answerOnCue: Handle = (_request, context) => {
      seen.push(context);
      return new Promise((resolve) => {
        answerLate = resolve;
      });
    };
    const { client, server } = await open(answerOnCue, {}, clock);
    const answer = client.unary(path, echoBytes, { "grpc-timeout": "250m" });
    await eventually(() => seen.length === 1, "the call");
    expect(seen[0]?.deadline).toBe(250);
    clock.advance(249);
    expect(seen[0]?.signal.aborted).toBe(false);
    clock.advance(1);
    expect(seen[0]?.signal.aborted).toBe(true);
    answerLate(echoBytes);
    expect(await answer).toMatchObject({ status: 4, text: "context deadline exceeded" });
    expect(server.finished).toEqual([4]);
  });

  test("a deadline further away than any timer is none", async () => {
    const { client } = await open(async (request) => {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      return request;
    });
    const answer = await client.unary(path, echoBytes, { "grpc-timeout": "99999999H" });
    expect(answer.status).toBe(0);
  });

  test("a request that stops half way is ended after requestArrivalMs", async () => {
    const clock = new FakeClock();
    const { client, server } = await open(echo, { requestArrivalMs: 30_000 }, clock);
    const call = client.open(path).send(frameOf(Buffer.alloc(10)).subarray(0, 7));
    await eventually(() => clock.timerCount() > 1, "the call");
    const ended = call.answer();
    await eventually(() => {
      clock.advance(30_000);
      return server.finished.length === 1;
    }, "the end of the call");
    expect(await ended).toMatchObject({ status: 4, isTrailersOnly: true });
  });

  test("a client that resets aborts the signal, and a later answer goes nowhere", async () => {
    const signals: AbortSignal[] = [];
    const { client, server } = await open(async (request, { signal }) => {
      signals.push(signal);
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return request;
    });
    const call = client.open(path).send(frameOf(echoBytes)).halfClose();
    await eventually(() => signals.length === 1, "the call");
    call.reset();
    await eventually(() => signals[0]?.aborted === true, "the abort");
    expect(server.finished).toEqual([1]);
    expect((await client.open(path, { "content-type": "text/plain" }).answer()).status).toBe(3);
  });

  test("a reset before the half-close never reaches the handler", async () => {
    let calls = 0;
    const { server } = await open(async (request) => {
      calls++;
      return request;
    });
    const socket = await RawSocket.connect(server.port);
    socket.send(
      preface,
      http2Frame(frameType.settings, 0, 0),
      http2Frame(frameType.headers, 4, 1, requestHeaders(path)),
      http2Frame(frameType.data, 0, 1, frameOf(echoBytes)),
      http2Frame(frameType.reset, 0, 1, Buffer.from([0, 0, 0, 0])),
    );
    await eventually(() => server.finished.length === 1, "the end of the call");
    socket.close();
    expect(server.finished).toEqual([1]);
    expect(calls).toBe(0);
  });

  test("metadata reaches the handler, first value of each name", async () => {
    const { client } = await open(async (_request, { metadata }) =>
      Buffer.from(JSON.stringify([metadata.get("token"), metadata.get("hasleader")])),
    );
    const answer = await client.unary(path, echoBytes, { token: "abc.1", hasleader: "true" });
    expect(String(answer.messages[0])).toBe('["abc.1","true"]');
  });

  test("calls wait while the client leaves responses unread, and go on when it reads", async () => {
    let calls = 0;
    const { client } = await open(
      async () => {
        calls++;
        return Buffer.alloc(200_000);
      },
      { unreadBytesMax: 300_000 },
    );
    // No window: responses stay with the server.
    const held = Array.from({ length: 10 }, () => client.open(path).pause());
    for (const call of held) call.send(frameOf(echoBytes)).halfClose();
    await eventually(() => calls === 2, "the first calls");
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(calls).toBeLessThan(10);
    for (const call of held) call.stream.resume();
    for (const call of held) expect((await call.answer()).status).toBe(0);
    expect(calls).toBe(10);
  });

  test("unfinished requests beyond the budget of a connection are refused", async () => {
    const { client } = await open(echo, { unfinishedBytesMax: 100_000 });
    const half = () => client.open(path).send(frameOf(Buffer.alloc(80_000)).subarray(0, 60_000));
    const first = half();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await half().answer()).toMatchObject({ status: 8 });
    first.send(Buffer.alloc(20_005)).halfClose();
    expect((await first.answer()).status).toBe(0);
  });
});

const echoBytes = Buffer.from("request");
