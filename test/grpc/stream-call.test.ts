// Streaming calls over a real socket: order, batching, back-pressure both ways, and every end.
// Covers "src/grpc/stream-call.ts" and "src/grpc/response-sink.ts".
import { afterEach, describe, expect, test } from "vitest";
import type { CallContext, ResponseSink, StreamMethod } from "../../src/api/method.ts";
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

const path = "/test.Echo/Stream";

async function open(
  handle: StreamMethod["handle"],
  ...rest: [Parameters<typeof openLoopback>[1]?, Parameters<typeof openLoopback>[2]?]
): Promise<{ server: LoopbackServer; client: RawClient }> {
  const server = await openLoopback([[path, { kind: "stream", handle }]], ...rest);
  closers.push(() => server.close());
  const client = await RawClient.connect(server.port);
  closers.push(() => client.close());
  return { server, client };
}

const echo: StreamMethod["handle"] = async (requests, sink) => {
  for await (const request of requests) if (!sink.write(request)) await sink.drained();
};

describe("streaming call", () => {
  test("serveStream echoes in order and ends with OK at the half-close", async () => {
    const { client, server } = await open(echo);
    const call = client.open(path);
    const sent = Array.from({ length: 500 }, (_, i) => Buffer.alloc(i * 7, i));
    for (const message of sent) call.send(frameOf(message));
    const answer = await call.halfClose().answer();
    expect(answer).toMatchObject({ httpStatus: 200, status: 0 });
    expect(answer.messages).toHaveLength(sent.length);
    expect(Buffer.concat(answer.messages).equals(Buffer.concat(sent))).toBe(true);
    expect(server.finished).toEqual([0]);
  });

  test("serveStream ends with OK in one header block when nothing was written", async () => {
    const { client } = await open(async () => {});
    expect(await client.open(path).answer()).toMatchObject({ status: 0, isTrailersOnly: true });
  });

  test("what was written arrives before the refusal that follows", async () => {
    const { client } = await open(async (_requests, sink) => {
      sink.write(Buffer.from("first"));
      throw RequestError.of("noLeader");
    });
    const answer = await client.open(path).answer();
    expect(answer.messages.map(String)).toEqual(["first"]);
    expect(answer).toMatchObject({ status: 14, text: "etcdserver: no leader", resetCode: 0 });
  });

  test("messages of one turn leave together, in parts or whole", async () => {
    const shared = Buffer.alloc(5_000, "s");
    const { client } = await open(async (_requests, sink) => {
      for (let i = 0; i < 20; i++) {
        sink.write(Buffer.from(`small ${i}`));
        if (i % 5 === 0) sink.writeParts([Buffer.from("head "), shared, Buffer.from(" tail")]);
      }
    });
    const call = client.open(path);
    let chunkCount = 0;
    call.stream.on("data", () => chunkCount++);
    const { messages } = await call.answer();
    expect(messages).toHaveLength(24);
    expect(String(messages[1])).toBe(`head ${String(shared)} tail`);
    expect(String(messages[23])).toBe("small 19");
    expect(chunkCount).toBeLessThan(8);
  });

  test("a client that never reads holds the handler back within sinkBytesMax", async () => {
    const message = Buffer.alloc(10_000);
    const messagesMax = 20_000;
    let written = 0;
    let isEnded = false;
    const { client, server } = await open(async (_requests, sink, { signal }) => {
      while (written < messagesMax && !signal.aborted) {
        written++;
        if (!sink.write(message)) await sink.drained();
      }
      isEnded = true;
    });
    const call = client.open(path).pause();
    await eventually(() => written > 3, "the first messages");
    // Sockets and windows take what they take; then the handler must stand still.
    let before = -1;
    await eventually(() => {
      const isStill = written === before;
      before = written;
      return isStill && written > 3;
    }, "the handler to wait");
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    // The client's window and one socket buffer at most, and the sink.
    expect(written * message.length).toBeLessThan(8_000_000);
    expect(isEnded).toBe(false);
    call.reset();
    await eventually(() => isEnded, "the handler to end");
    expect(server.finished).toEqual([1]);
  });

  test("200 MB reach a client that reads", async () => {
    const message = Buffer.alloc(100_000);
    const { client } = await open(async (_requests, sink) => {
      for (let i = 0; i < 2_000; i++) if (!sink.write(message)) await sink.drained();
    });
    const call = client.open(path);
    call.stream.removeAllListeners("data");
    let bytes = 0;
    call.stream.on("data", (chunk: Buffer) => (bytes += chunk.length));
    expect((await call.answer()).status).toBe(0);
    expect(bytes).toBe(2_000 * 100_005);
  });

  test("a handler that ignores a full sink loses the client, not the memory", async () => {
    let isRefused = false;
    const { client, server } = await open(
      async (_requests, sink, { signal }) => {
        while (!signal.aborted) {
          sink.write(Buffer.alloc(50_000));
          await new Promise((resolve) => setImmediate(resolve));
        }
        isRefused = !sink.write(Buffer.alloc(1));
      },
      { sinkOverrunBytesMax: 500_000 },
    );
    const call = client.open(path).pause();
    await eventually(() => isRefused, "the end of the call");
    expect(server.finished).toEqual([8]);
    call.stream.resume();
    expect((await call.answer()).resetCode).toBe(11);
  });

  test("a handler that is behind stops the client by flow control", async () => {
    let proceed: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      proceed = resolve;
    });
    let received = 0;
    const { client } = await open(
      async (requests) => {
        await gate;
        for await (const request of requests) received += request.length;
      },
      { requestQueueMax: 4, streamWindowBytes: 65_535, connectionWindowBytes: 65_535 },
    );
    const call = client.open(path);
    const message = frameOf(Buffer.alloc(10_000));
    for (let i = 0; i < 200; i++) call.send(message);
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(call.stream.writableLength).toBeGreaterThan(1_000_000);
    proceed();
    expect((await call.halfClose().answer()).status).toBe(0);
    expect(received).toBe(2_000_000);
  });

  test("a client that resets ends the iterator and the signal", async () => {
    const ends: string[] = [];
    const contexts: CallContext[] = [];
    const { server } = await open(async (requests, sink, context) => {
      contexts.push(context);
      try {
        for await (const request of requests) sink.write(request);
      } catch (error) {
        ends.push(String(error));
        throw error;
      }
    });
    const socket = await RawSocket.connect(server.port);
    socket.send(preface, http2Frame(frameType.settings, 0, 0));
    socket.send(http2Frame(frameType.headers, 4, 1, requestHeaders(path)));
    socket.send(http2Frame(frameType.data, 0, 1, frameOf(Buffer.from("ready"))));
    await eventually(
      () => socket.frames().some(({ type }) => type === frameType.data),
      "the first message",
    );
    socket.send(http2Frame(frameType.reset, 0, 1, Buffer.from([0, 0, 0, 8])));
    await eventually(() => ends.length === 1, "the end of the requests");
    socket.close();
    expect(ends).toEqual(["RequestError: context canceled"]);
    expect(contexts[0]?.signal.aborted).toBe(true);
    expect(server.finished).toEqual([1]);
  });

  test("a reset of a stream that is paused ends the call too", async () => {
    const contexts: CallContext[] = [];
    const { client, server } = await open(
      async (_requests, _sink, context) => {
        contexts.push(context);
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
      { requestQueueMax: 1 },
    );
    for (const code of [0, 8]) {
      const call = client.open(path).send(frameOf(Buffer.alloc(100_000)));
      call.send(frameOf(Buffer.alloc(100_000)));
      const count = contexts.length;
      await eventually(() => contexts.length > count, "the call");
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      call.stream.close(code);
      await eventually(() => contexts[count]?.signal.aborted === true, `reset ${code}`);
    }
    expect(server.finished).toEqual([1, 1]);
  });

  test("the deadline ends a stream that has written, and a late write is dropped", async () => {
    const clock = new FakeClock();
    const sinks: ResponseSink[] = [];
    const { client } = await open(
      async (_requests, sink, { signal }) => {
        sinks.push(sink);
        sink.write(Buffer.from("one"));
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
      {},
      clock,
    );
    const call = client.open(path, { "grpc-timeout": "1S" });
    await eventually(() => sinks.length === 1, "the call");
    clock.advance(1_000);
    expect(await call.answer()).toMatchObject({ status: 4, text: "context deadline exceeded" });
    expect((await call.answer()).messages.map(String)).toEqual(["one"]);
    expect(sinks[0]?.write(Buffer.from("late"))).toBe(false);
    await sinks[0]?.drained();
  });

  test("a malformed frame in the middle ends the stream with its refusal", async () => {
    const { client } = await open(echo, { messageBytesMax: 100 });
    const call = client.open(path).send(frameOf(Buffer.from("good")));
    await eventually(() => call.receivedBytes > 0, "the echo");
    call.send(frameOf(Buffer.alloc(101)));
    const answer = await call.answer();
    expect(answer.messages.map(String)).toEqual(["good"]);
    expect(answer).toMatchObject({
      status: 8,
      text: "grpc: received message larger than max (101 vs. 100)",
    });
  });
});
