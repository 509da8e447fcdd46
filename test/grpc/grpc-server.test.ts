// The server as the listener sees it: hand-over of sessions, streams of others, and the end.
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import type { Method } from "../../src/api/method.ts";
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

  test("accept survives a socket that is dead already", async () => {
    const loopback = await openLoopback([]);
    let acceptedCount = 0;
    const listener = createServer((socket) => {
      socket.on("error", () => {});
      socket.destroy(new Error("gone"));
      loopback.server.accept(socket);
      acceptedCount++;
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    const socket = await RawSocket.connect((listener.address() as AddressInfo).port);
    await eventually(() => acceptedCount === 1, "the socket");
    await eventually(() => loopback.server.connectionCount() === 0, "the end");
    socket.close();
    listener.close();
    await loopback.close();
  });

  test("accept answers what is not gRPC with HTTP status 415", async () => {
    const loopback = await openLoopback([]);
    const client = await RawClient.connect(loopback.port);
    const page = client.open("/health", { "content-type": "text/html" });
    expect(await page.halfClose().answer()).toMatchObject({ httpStatus: 415, status: 3 });
    expect((await client.unary("/a.B/C", Buffer.alloc(0))).text).toBe("unknown service a.B");
    await client.close();
    await loopback.close();
  });
});
