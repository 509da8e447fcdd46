// The server as the listener sees it: hand-over of sessions, streams of others, and the end.
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { performServerHandshake } from "node:http2";
import type { ServerHttp2Session } from "node:http2";
import { describe, expect, test } from "vitest";
import type { Method } from "../../src/api/method.ts";
import { silentLogger } from "../../src/base/logger.ts";
import { GrpcServer } from "../../src/grpc/grpc-server.ts";
import { defaultGrpcLimits } from "../../src/grpc/limits.ts";
import { silentObserver } from "../../src/api/call-observer.ts";
import { realClock } from "../../src/server/real-clock.ts";
import { eventually, openLoopback } from "./loopback-server.ts";
import { frameOf, RawClient } from "./raw-client.ts";
import { RawSocket } from "./raw-frames.ts";

interface Gate {
  readonly method: Method;
  waitingCount(): number;
  open(): void;
}

function gateMethod(): Gate {
  const waiting: (() => void)[] = [];
  return {
    method: {
      kind: "unary",
      async handle(request) {
        await new Promise<void>((resolve) => waiting.push(resolve));
        return request;
      },
    },
    waitingCount: () => waiting.length,
    open: () => {
      for (const resolve of waiting.splice(0)) resolve();
    },
  };
}

const hang: Method = {
  kind: "stream",
  async handle(requests, sink) {
    for await (const request of requests) sink.write(request);
  },
};

describe("GrpcServer", () => {
  test("close lets unary calls finish, ends streams as Unavailable, takes no new calls", async () => {
    const gate = gateMethod();
    const loopback = await openLoopback([
      ["/test.Gate/Call", gate.method],
      ["/test.Gate/Stream", hang],
    ]);
    const client = await RawClient.connect(loopback.port);
    const unary = client.unary("/test.Gate/Call", Buffer.from("kept"));
    const stream = client.open("/test.Gate/Stream").send(frameOf(Buffer.from("x")));
    await eventually(() => gate.waitingCount() === 1 && stream.receivedBytes > 0, "the calls");
    const closed = loopback.server.close(60_000);
    expect(await stream.answer()).toMatchObject({
      status: 14,
      text: "etcdserver: server stopped",
    });
    await eventually(() => client.goaway !== null, "the GOAWAY");
    expect(client.goaway?.code).toBe(0);
    gate.open();
    expect((await unary).messages.map(String)).toEqual(["kept"]);
    await closed;
    expect(loopback.server.connectionCount()).toBe(0);
    await client.whenClosed();
    await loopback.close();
  });

  test("close cuts what is left after the grace", async () => {
    const gate = gateMethod();
    const loopback = await openLoopback([["/test.Gate/Call", gate.method]]);
    const client = await RawClient.connect(loopback.port);
    const unary = client.unary("/test.Gate/Call", Buffer.from("lost"));
    await eventually(() => gate.waitingCount() === 1, "the call");
    await loopback.server.close(1);
    expect((await unary).status).toBe(-1);
    expect(loopback.finished).toEqual([1]);
    gate.open();
    await loopback.close();
  });

  test("accept survives a session that is dead already", async () => {
    const loopback = await openLoopback([]);
    const sessions: ServerHttp2Session[] = [];
    const listener = createServer((socket) => {
      socket.on("error", () => {});
      const session = performServerHandshake(socket, loopback.server.sessionOptions());
      session.destroy(new Error("gone"));
      loopback.server.accept(session);
      sessions.push(session);
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const socket = await RawSocket.connect((listener.address() as AddressInfo).port);
    await eventually(() => sessions.length === 1, "the session");
    await eventually(() => loopback.server.connectionCount() === 0, "the end");
    socket.close();
    listener.close();
    await loopback.close();
  });

  test("accept hands streams that are not gRPC to the other side of the port", async () => {
    const server = new GrpcServer(
      {
        methods: new Map(),
        clock: realClock,
        logger: silentLogger,
        observer: silentObserver,
        fatal: () => {},
      },
      defaultGrpcLimits,
    );
    const listener = createServer((socket) => {
      socket.on("error", () => {});
      const session = performServerHandshake(socket, server.sessionOptions());
      server.accept(session, (stream, headers) => {
        stream.respond({ ":status": 200 });
        stream.end(`${headers[":method"]} ${headers[":path"]}`);
      });
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const client = await RawClient.connect((listener.address() as AddressInfo).port);
    const health = client.open("/health", { ":method": "GET", "content-type": undefined });
    const text: Buffer[] = [];
    health.stream.on("data", (chunk: Buffer) => text.push(chunk));
    expect((await health.answer()).httpStatus).toBe(200);
    expect(String(Buffer.concat(text))).toBe("GET /health");
    expect((await client.unary("/a.B/C", Buffer.alloc(0))).text).toBe("unknown service a.B");
    await client.close();
    listener.close();
    await server.close(0);
  });
});
