// Generated clients: valid dialogues of nghttp2 (inside node:http2), which encodes header blocks and
// keeps windows by its own lights, and frames that no client would send, which end a connection and
// nothing else.
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { connect } from "node:http2";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { encodeHeaderBlock } from "../../src/http2/header-block.ts";
import { eventually } from "../grpc/loopback-server.ts";
import { http2Frame, preface, RawSocket } from "../grpc/raw-frames.ts";
import { endBlock, openSessions, requestBlock, settings } from "./loopback-session.ts";
import type { LoopbackSessions, Request } from "./loopback-session.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function openClient(port: number, initialWindowSize: number): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize } });
  session.on("error", () => {});
  await new Promise<void>((resolve) => session.once("remoteSettings", () => resolve()));
  return session;
}

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on("response", (received) => (headers = received));
  stream.on("trailers", (received) => (trailers = received));
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve, reject) => {
    stream.once("error", reject);
    stream.once("close", () => resolve({ headers, trailers, body: Buffer.concat(chunks) }));
  });
}

/** Its own body behind its own fields. */
function echo(request: Request): void {
  const { fields, stream } = request;
  const echoed: string[] = [":status", "200"];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] ?? "";
    if (name.startsWith("x-")) echoed.push(name, fields[i + 1] ?? "");
  }
  stream.respond(encodeHeaderBlock(echoed), false);
  stream.send([request.body()]);
  stream.end(endBlock);
}

/** Without spaces at its ends, where nghttp2 drops a field. */
const visible = fc
  .string({
    unit: fc.constantFrom(..." !#%&abcXYZ0123456789-/~\u00a1\u00ff".split("")),
    maxLength: 200,
  })
  .map((text) => text.trim());
const call = fc.record({
  fields: fc.dictionary(fc.stringMatching(/^x-[a-z0-9-]{1,20}$/), visible, { maxKeys: 6 }),
  chunks: fc.array(fc.nat(30_000), { maxLength: 6 }),
  isCancelled: fc.boolean(),
});
const dialogue = fc.record({
  initialWindowSize: fc.constantFrom(200, 1_000, 16_384, 65_535, 1_000_000),
  pauses: fc.integer({ min: 1, max: 9 }),
  calls: fc.array(call, { minLength: 1, maxLength: 12 }),
});

describe("generated dialogues", () => {
  test("each call gets its own fields and body back, whatever windows and pauses", async () => {
    let pauses = 1;
    const sessions = await openSessions({
      finish: echo,
      read({ stream, chunks }) {
        if (chunks.length % pauses !== 0) return;
        stream.pause();
        setImmediate(() => stream.resume());
      },
    });
    closers.push(() => sessions.close());
    await fc.assert(
      fc.asyncProperty(dialogue, async ({ initialWindowSize, calls, ...rest }) => {
        pauses = rest.pauses;
        const client = await openClient(sessions.port, initialWindowSize);
        const answers = calls.map(async ({ fields, chunks, isCancelled }, i) => {
          const stream = client.request({ ":method": "POST", ...fields });
          const sent = chunks.map((bytes, j) => Buffer.alloc(bytes, i + j));
          for (const chunk of sent) stream.write(chunk);
          if (isCancelled) {
            stream.on("error", () => {});
            setImmediate(() => stream.close(8));
            return;
          }
          stream.end();
          const { headers, trailers, body } = await answerOf(stream);
          expect(body.equals(Buffer.concat(sent)), `body of call ${i}`).toBe(true);
          expect(headers).toMatchObject(fields);
          expect(trailers).toMatchObject({ done: "yes" });
        });
        await Promise.all(answers);
        await new Promise<void>((resolve) => client.close(resolve));
      }),
      { numRuns: 60 },
    );
    expectClosedOnce(sessions);
  });

  test("many streams of one client get large answers through a tiny window", async () => {
    const sessions = await openSessions({ finish: echo });
    closers.push(() => sessions.close());
    const client = await openClient(sessions.port, 3_000);
    const sent = Array.from({ length: 50 }, (_, i) => Buffer.alloc(100_000, i));
    const answers = sent.map((body) => {
      const stream = client.request({ ":method": "POST" });
      stream.end(body);
      return answerOf(stream);
    });
    for (const [i, answer] of answers.entries()) {
      expect((await answer).body.equals(sent[i] ?? Buffer.alloc(0)), `call ${i}`).toBe(true);
    }
    client.destroy();
  });
});

function expectClosedOnce({ served }: LoopbackSessions): void {
  for (const { owner } of served) {
    for (const { closings } of owner.requests) expect(closings).toHaveLength(1);
    expect(owner.errors).toEqual([]);
  }
}

const streamId = fc.oneof(fc.nat(9), fc.nat(2 ** 31 - 1));
const flagBits = fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x2d), fc.nat(255));
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc.constant(requestBlock()),
  fc.constantFrom(0, 4, 6, 8).map((bytes) => new Uint8Array(bytes)),
  fc.nat(16_384).map((bytes) => new Uint8Array(bytes)),
);
type FrameParts = readonly [type: number, flags: number, streamId: number, payload: Uint8Array];
const anyFrame: fc.Arbitrary<FrameParts> = fc.tuple(fc.nat(10), flagBits, streamId, payload);
const request: fc.Arbitrary<FrameParts> = fc
  .constantFrom(1, 3, 5, 7)
  .map((id) => [1, 4, id, requestBlock()]);

describe("generated frames", () => {
  test("end the connection at worst, tell each listener once, and go on with the next", async () => {
    const sessions = await openSessions({
      finish: (whole) => whole.answer(whole.body()),
      read: ({ stream }) => stream.pause(),
    });
    closers.push(() => sessions.close());
    const frames = fc.array(fc.oneof(request, anyFrame), { minLength: 1, maxLength: 30 });
    const garbage = fc.uint8Array({ maxLength: 300 });
    await fc.assert(
      fc.asyncProperty(frames, garbage, async (sent, tail) => {
        const before = sessions.served.length;
        const socket = await RawSocket.connect(sessions.port);
        socket.send(preface, settings(), ...sent.map((parts) => http2Frame(...parts)), tail);
        await eventually(() => sessions.served.length > before, "the session");
        const served = sessions.served[before];
        socket.socket.end();
        await eventually(() => served?.owner.closedCount === 1, "the end");
        for (const { closings } of served?.owner.requests ?? []) expect(closings).toHaveLength(1);
        socket.close();
      }),
      { numRuns: 400 },
    );
  });
});
