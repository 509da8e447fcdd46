// Another maker's client, grpc-js, against our server: all call kinds and all ways they end.
import { Client, credentials, Metadata, status } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Method } from "../../src/api/method.ts";
import { RequestError } from "../../src/base/errors.ts";
import { eventually, openLoopback } from "./loopback-server.ts";
import type { LoopbackServer } from "./loopback-server.ts";

const echo: Method = { kind: "unary", handle: async (request) => request };
const refuse: Method = {
  kind: "unary",
  async handle() {
    throw RequestError.of("leaseNotFound");
  },
};
const never: Method = { kind: "unary", handle: () => new Promise(() => {}) };
const token: Method = {
  kind: "unary",
  handle: async (_request, { metadata }) => Buffer.from(metadata.get("token") ?? "none"),
};
const count: Method = {
  kind: "stream",
  async handle(requests, sink) {
    for await (const request of requests) {
      for (let i = 0; i < Number(Buffer.from(request).toString()); i++) {
        if (!sink.write(Buffer.alloc(1_000, i))) await sink.drained();
      }
    }
  },
};

let server: LoopbackServer;
let client: Client;
beforeAll(async () => {
  server = await openLoopback([
    ["/test.Js/Echo", echo],
    ["/test.Js/Refuse", refuse],
    ["/test.Js/Never", never],
    ["/test.Js/Token", token],
    ["/test.Js/Count", count],
  ]);
  client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  });
});
afterAll(async () => {
  client.close();
  await server.close();
});

const identity = (bytes: Buffer) => bytes;

interface Call {
  readonly metadata?: Metadata;
  readonly deadlineMs?: number;
}

function unary(path: string, message: Buffer, call: Call = {}): Promise<Buffer> {
  const { metadata = new Metadata(), deadlineMs } = call;
  const options = deadlineMs === undefined ? {} : { deadline: new Date(Date.now() + deadlineMs) };
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, identity, identity, message, metadata, options, (error, bytes) =>
      error === null ? resolve(bytes ?? Buffer.alloc(0)) : reject(error),
    );
  });
}

describe("grpc-js client", () => {
  test("unary calls, small and large, many at once", async () => {
    const messages = Array.from({ length: 200 }, (_, i) => Buffer.alloc(i * 101, i));
    const answers = await Promise.all(messages.map((message) => unary("/test.Js/Echo", message)));
    answers.forEach((answer, i) => expect(answer.equals(messages[i] ?? answer)).toBe(true));
    const large = Buffer.alloc(2_097_152, "x");
    expect((await unary("/test.Js/Echo", large)).equals(large)).toBe(true);
  });

  test("statuses and texts of refusals, ours and the handler's", async () => {
    const failure = (path: string, message = Buffer.alloc(0)): Promise<ServiceError> =>
      unary(path, message).then(
        () => Promise.reject(new Error("was answered")),
        (error: ServiceError) => error,
      );
    expect(await failure("/test.Js/Refuse")).toMatchObject({
      code: status.NOT_FOUND,
      details: "etcdserver: requested lease not found",
    });
    expect(await failure("/test.Js/Nothing")).toMatchObject({
      code: status.UNIMPLEMENTED,
      details: "unknown method Nothing for service test.Js",
    });
    expect(await failure("/test.Js/Echo", Buffer.alloc(2_097_153))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: "grpc: received message larger than max (2097153 vs. 2097152)",
    });
  });

  test("deadlines and metadata arrive", async () => {
    await expect(
      unary("/test.Js/Never", Buffer.alloc(0), { deadlineMs: 50 }),
    ).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
    await eventually(() => server.finished.includes(4) || server.finished.includes(1), "the end");
    const metadata = new Metadata();
    metadata.set("token", "abc");
    expect(String(await unary("/test.Js/Token", Buffer.alloc(0), { metadata }))).toBe("abc");
  });

  test("server streaming delivers all messages in order", async () => {
    const call = client.makeServerStreamRequest(
      "/test.Js/Count",
      identity,
      identity,
      Buffer.from("3000"),
    );
    const firstBytes: number[] = [];
    for await (const message of call) firstBytes.push((message as Buffer)[0] ?? -1);
    expect(firstBytes).toEqual(Array.from({ length: 3_000 }, (_, i) => i % 256));
  });

  test("bidirectional streaming answers while the client still sends", async () => {
    const call = client.makeBidiStreamRequest("/test.Js/Count", identity, identity);
    let messageCount = 0;
    call.on("data", () => messageCount++);
    for (let round = 1; round <= 5; round++) {
      call.write(Buffer.from("2"));
      await eventually(() => messageCount === 2 * round, `round ${round}`);
    }
    const ended = new Promise<number>((resolve) => {
      call.on("status", ({ code }) => resolve(code));
    });
    call.end();
    expect(await ended).toBe(status.OK);
  });

  test("cancelling a stream ends it on both sides", async () => {
    const finishedCount = server.finished.length;
    const call = client.makeBidiStreamRequest("/test.Js/Count", identity, identity);
    const failed = new Promise<ServiceError>((resolve) => {
      call.on("error", (error) => resolve(error as ServiceError));
    });
    call.on("data", () => call.cancel());
    call.write(Buffer.from("1"));
    expect((await failed).code).toBe(status.CANCELLED);
    await eventually(() => server.finished.length > finishedCount, "the end");
  });
});
