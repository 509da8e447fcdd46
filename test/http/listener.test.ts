import type { IncomingMessage } from "node:http";
import { Agent, request as httpRequest } from "node:http";
import { connect as connectHttp2, performServerHandshake } from "node:http2";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { silentLogger } from "../../src/base/logger.ts";
import type { Http2Acceptor, ListenerLimits } from "../../src/http/listener.ts";
import { Listener } from "../../src/http/listener.ts";
import { realClock } from "../../src/server/real-clock.ts";
import { FakeClock } from "../sim/fake-clock.ts";
import type { HttpFixture } from "./http-fixture.ts";
import { openFixture } from "./http-fixture.ts";

const limits: ListenerLimits = {
  connectionsMax: 8,
  connectionsPerAddressMax: 8,
  undecidedMax: 8,
  firstBytesMs: 1000,
};

/** Answers each stream with its path, in place of the gRPC server. */
const echo: Http2Acceptor = {
  accept(socket: Socket) {
    const session = performServerHandshake(socket);
    session.on("error", () => {});
    session.on("stream", (stream, headers) => {
      stream.respond({ ":status": 200 });
      stream.end(`h2 ${headers[":path"]}`);
    });
  },
};

interface Port {
  readonly listener: Listener;
  readonly fixture: HttpFixture;
  readonly port: number;
}

const opened: Port[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const { listener, fixture } of opened.splice(0)) {
    listener.stopAccepting();
    listener.destroyConnections();
    await fixture.app.close();
  }
});

async function open(
  changed: Partial<ListenerLimits> = {},
  { clock = realClock, only }: { clock?: Clock; only?: "http1" | "http2" } = {},
): Promise<Port> {
  const fixture = await openFixture({ headersMs: 300 });
  const listener = new Listener(
    {
      http: only === "http2" ? null : fixture.server,
      http2: only === "http1" ? null : echo,
      clock,
      logger: silentLogger,
    },
    { ...limits, ...changed },
  );
  const { port } = await listener.listen("127.0.0.1", 0);
  const result = { listener, fixture, port };
  opened.push(result);
  return result;
}

/** A socket, and all that it has received. */
function dial(port: number): { socket: Socket; text: () => string; closed: Promise<void> } {
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  let received = "";
  socket.on("error", () => {});
  socket.on("data", (bytes) => (received += bytes.toString("latin1")));
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return { socket, text: () => received, closed };
}

const connected = (socket: Socket) =>
  new Promise<void>((resolve) => socket.once("connect", () => resolve()));

/** Waits for a fact, for at most five seconds. */
const until = (fact: () => boolean) => expect.poll(fact, { timeout: 5000 }).toBe(true);

async function overHttp2(port: number, path: string): Promise<string> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  const stream = session.request({ ":path": path });
  let body = "";
  try {
    for await (const chunk of stream) body += String(chunk);
    return body;
  } finally {
    session.close();
  }
}

describe("Listener, one port", () => {
  test("serves HTTP/1 and HTTP/2 side by side and forgets closed connections", async () => {
    const { port, listener } = await open();
    const [one, two] = await Promise.all([
      fetch(`http://127.0.0.1:${port}/health`).then((reply) => reply.text()),
      overHttp2(port, "/grpc"),
    ]);
    expect([one, two]).toEqual(['{"health":"true","reason":""}', "h2 /grpc"]);
    await until(() => listener.connectionCount() <= 1);
  });

  test("decides on bytes that arrive one by one", async () => {
    const { port } = await open();
    const http = dial(port);
    for (const byte of "POST /v3/kv/range HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}") {
      http.socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => http.text().includes('{"header":{"revision":"2"}}'));
    const preface = dial(port);
    for (const byte of "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0") {
      preface.socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // The server's own SETTINGS frame: type 4.
    await until(() => preface.text().charCodeAt(3) === 4);
  });

  test("takes requests that follow each other on one connection", async () => {
    const { port } = await open();
    const http = dial(port);
    const get = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    http.socket.write(get + get);
    await until(() => http.text().split("ok\n").length === 3);
    http.socket.write(get);
    await until(() => http.text().split("ok\n").length === 4);
  });

  test("closes a connection that speaks the protocol of another port", async () => {
    const grpcOnly = await open({}, { only: "http2" });
    const http = dial(grpcOnly.port);
    http.socket.write("GET / HTTP/1.1\r\n\r\n");
    await http.closed;
    expect(await overHttp2(grpcOnly.port, "/x")).toBe("h2 /x");
    const httpOnly = await open({}, { only: "http1" });
    const grpc = dial(httpOnly.port);
    grpc.socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    await grpc.closed;
  });
});

describe("Listener, limits", () => {
  test("closes a connection that stays silent (X9)", async () => {
    const clock = new FakeClock();
    const { port, listener } = await open({}, { clock });
    const silent = dial(port);
    const partial = dial(port);
    partial.socket.write("PR");
    await until(() => clock.timerCount() === 2);
    clock.advance(999);
    expect(listener.connectionCount()).toBe(2);
    clock.advance(1);
    await Promise.all([silent.closed, partial.closed]);
    await until(() => listener.connectionCount() === 0);
    expect(clock.timerCount()).toBe(0);
  });

  for (const [what, changed] of [
    ["in all", { connectionsMax: 2 }],
    ["of one address", { connectionsPerAddressMax: 2 }],
    ["that are silent", { undecidedMax: 2 }],
  ] as const) {
    test(`closes the connection beyond the cap on those ${what} (X10)`, async () => {
      const { port, listener } = await open(changed);
      const [first, second] = [dial(port), dial(port)];
      await until(() => listener.connectionCount() === 2);
      const third = dial(port);
      await third.closed;
      expect(listener.connectionCount()).toBe(2);
      first.socket.destroy();
      await until(() => listener.connectionCount() === 1);
      const fourth = dial(port);
      await connected(fourth.socket);
      fourth.socket.write("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
      await until(() => fourth.text().endsWith("ok\n"));
      second.socket.destroy();
    });
  }

  test("closes a connection whose headers come too slowly (X9)", async () => {
    const { port } = await open();
    const slow = dial(port);
    slow.socket.write("GET /livez HTTP/1.1\r\nhost:");
    await slow.closed;
    expect(slow.text()).toMatch(/^HTTP\/1.1 408/);
  });

  test("closes a connection whose body comes too slowly (X9)", async () => {
    const { port } = await open();
    for (const path of ["/v3/kv/put", "/v3/watch"]) {
      const slow = dial(port);
      slow.socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{`);
      await slow.closed;
    }
  });

  test("refuses smuggled and oversized requests (X18)", async () => {
    const { port } = await open();
    const head = "POST /v3/kv/put HTTP/1.1\r\nhost: x\r\n";
    for (const [bytes, status] of [
      [`${head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`, "400"],
      [`${head}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`, "400"],
      [`${head}content-length : 2\r\n\r\n{}`, "400"],
      [`${head}x: ${"y".repeat(20_000)}\r\n\r\n`, "431"],
      ["POST /v3/kv/put HTTP/1.1\r\ncontent-length: 0\r\n\r\n", "400"],
    ] as const) {
      const client = dial(port);
      client.socket.write(bytes);
      await client.closed;
      expect([bytes.slice(0, 80), client.text().slice(9, 12)]).toEqual([
        bytes.slice(0, 80),
        status,
      ]);
    }
  });

  test("answers a body beyond the limit before it is all there", async () => {
    const { port } = await open();
    const client = dial(port);
    client.socket.write("POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
    client.socket.write(`{"key":"${"A".repeat(8000)}`);
    await until(() => client.text().startsWith("HTTP/1.1 429"));
  });
});

describe("Listener, streams", () => {
  /** A watch over HTTP whose request stays open. */
  async function openWatch(port: number): Promise<{ reply: IncomingMessage; lines: string[] }> {
    const agent = new Agent();
    const request = httpRequest({ port, path: "/v3/watch", method: "POST", agent });
    request.on("error", () => {});
    request.write('{"create_request":{"watch_id":1}}');
    const reply = await new Promise<IncomingMessage>((resolve) => request.on("response", resolve));
    const lines: string[] = [];
    reply.on("error", () => {});
    reply.on("data", (chunk: Buffer) => {
      lines.push(chunk.toString());
      if (lines.length === 1) request.write('{"create_request":{"watch_id":2}}');
      if (lines.length === 2) request.end();
    });
    return { reply, lines };
  }

  test("send each line as its own chunk, at once, while the request stays open", async () => {
    const { port } = await open();
    const { reply, lines } = await openWatch(port);
    await until(() => lines.length === 2);
    expect(lines).toEqual([
      '{"result":{"watch_id":"1","created":true}}\n',
      '{"result":{"watch_id":"2","created":true}}\n',
    ]);
    reply.destroy();
  });

  test("end with a line of their own when the server stops", async () => {
    const { port, fixture } = await open();
    const { reply, lines } = await openWatch(port);
    await until(() => lines.length === 2);
    const ended = new Promise((resolve) => reply.once("end", resolve));
    fixture.gateway.close();
    await ended;
    expect(JSON.parse(lines[2] ?? "")).toMatchObject({
      error: { grpc_code: 14, message: "etcdserver: server stopped" },
    });
    await fixture.methods.watchEnded.promise;
  });

  test("end when the client is gone", async () => {
    const { port, fixture, listener } = await open();
    const { reply, lines } = await openWatch(port);
    await until(() => lines.length === 2);
    reply.destroy();
    await fixture.methods.watchEnded.promise;
    await until(() => listener.connectionCount() === 0);
  });
});
