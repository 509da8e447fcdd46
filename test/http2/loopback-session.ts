// A ServerSession on a loopback socket with an owner that only writes down what it is told: for
// tests that speak frames by hand, or node:http2's client, to the session alone.
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import type { Clock } from "../../src/base/clock.ts";
import type { HeaderFields } from "../../src/http2/hpack-decoder.ts";
import { encodeHeaderBlock } from "../../src/http2/header-block.ts";
import { ServerSession } from "../../src/http2/server-session.ts";
import type { SessionLimits, SessionOwner } from "../../src/http2/server-session.ts";
import type { ServerStream, StreamListener } from "../../src/http2/server-stream.ts";
import type { ConnectionError } from "../../src/http2/wire.ts";
import { realClock } from "../../src/server/real-clock.ts";
import { eventually } from "../grpc/loopback-server.ts";
import { frameType, headerBlock, http2Frame, preface, RawSocket } from "../grpc/raw-frames.ts";

export const testLimits: SessionLimits = {
  streamsPerConnectionMax: 100,
  streamWindowBytes: 65_535,
  connectionWindowBytes: 65_535,
  headerListBytesMax: 16_384,
  headerPairsMax: 128,
  invalidFramesMax: 100,
};

export const okBlock = encodeHeaderBlock([":status", "200"]);
export const endBlock = encodeHeaderBlock(["done", "yes"]);

/** One request as the listener saw it. */
export class Request implements StreamListener {
  readonly stream: ServerStream;
  readonly fields: HeaderFields;
  readonly chunks: Buffer[] = [];
  readonly closings: boolean[] = [];
  isWhole = false;
  drainedCount = 0;
  readonly #events: RequestEvents;

  constructor(stream: ServerStream, fields: HeaderFields, events: RequestEvents) {
    this.stream = stream;
    this.fields = fields;
    this.#events = events;
  }

  body(): Buffer {
    return Buffer.concat(this.chunks);
  }

  /** Response, body and trailers. */
  answer(...pieces: readonly Uint8Array[]): void {
    this.stream.respond(okBlock, false);
    if (pieces.length > 0) this.stream.send(pieces);
    this.stream.end(endBlock);
  }

  read(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.#events.read?.(this, chunk);
  }

  finish(): void {
    this.isWhole = true;
    this.#events.finish?.(this);
  }

  drained(): void {
    this.drainedCount += 1;
  }

  closed(isReset: boolean): void {
    this.closings.push(isReset);
  }
}

/** What a test does when it happens; nothing by default. */
export interface RequestEvents {
  readonly read?: (request: Request, chunk: Buffer) => void;
  readonly finish?: (request: Request) => void;
}

export class RecordingOwner implements SessionOwner {
  readonly requests: Request[] = [];
  readonly errors: ConnectionError[] = [];
  settledCount = 0;
  pingCount = 0;
  idleFrameCount = 0;
  closedCount = 0;
  readonly #events: RequestEvents;

  constructor(events: RequestEvents) {
    this.#events = events;
  }

  opened(stream: ServerStream, fields: HeaderFields): StreamListener {
    const request = new Request(stream, fields, this.#events);
    this.requests.push(request);
    return request;
  }

  settled(): void {
    this.settledCount += 1;
  }

  pinged(): void {
    this.pingCount += 1;
  }

  idleFrame(): void {
    this.idleFrameCount += 1;
  }

  failed(error: ConnectionError): void {
    this.errors.push(error);
  }

  closed(): void {
    this.closedCount += 1;
  }
}

export interface Served {
  readonly session: ServerSession;
  readonly owner: RecordingOwner;
}

export interface LoopbackSessions {
  readonly port: number;
  /** In the order of their connections. */
  readonly served: readonly Served[];
  close(): Promise<void>;
}

export interface LoopbackOptions extends RequestEvents {
  readonly limits?: Partial<SessionLimits>;
  readonly clock?: Clock;
}

export async function openSessions(options: LoopbackOptions = {}): Promise<LoopbackSessions> {
  const served: Served[] = [];
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on("error", () => {});
    const owner = new RecordingOwner(options);
    const limits = { ...testLimits, ...options.limits };
    const session = new ServerSession({ clock: options.clock ?? realClock, owner }, socket, limits);
    served.push({ session, owner });
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;
  return {
    port,
    served,
    async close() {
      for (const { session } of served) session.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}

/** One session and the raw socket of its client, which has said the preface and SETTINGS. */
export async function openRaw(
  options: LoopbackOptions = {},
): Promise<Served & { readonly socket: RawSocket; close(): Promise<void> }> {
  const sessions = await openSessions(options);
  const socket = await RawSocket.connect(sessions.port);
  socket.send(preface, settings());
  await eventually(() => sessions.served[0]?.owner.settledCount === 1, "the session");
  const [first] = sessions.served;
  if (first === undefined) throw new Error("no session");
  const close = async () => {
    socket.close();
    await sessions.close();
  };
  return { ...first, socket, close };
}

export const flags = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;
export const settingId = { enablePush: 2, initialWindow: 4, maxFrame: 5 } as const;

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = pairs.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), uint32(value)]));
  return http2Frame(frameType.settings, 0, 0, Buffer.concat(payload));
}

export function windowUpdate(streamId: number, bytes: number): Buffer {
  return http2Frame(frameType.windowUpdate, 0, streamId, uint32(bytes));
}

export function reset(streamId: number): Buffer {
  return http2Frame(frameType.reset, 0, streamId, uint32(8));
}

export function ping(): Buffer {
  return http2Frame(frameType.ping, 0, 0, Buffer.alloc(8, 7));
}

export function requestBlock(...more: readonly (readonly [string, string])[]): Buffer {
  const fields: readonly (readonly [string, string])[] = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "/"],
    ...more,
  ];
  return headerBlock(fields);
}

/** HEADERS of a request that is whole, or that a body follows. */
export function head(streamId: number, isEnd = false): Buffer {
  const endStream = isEnd ? flags.endStream : 0;
  return http2Frame(frameType.headers, flags.endHeaders + endStream, streamId, requestBlock());
}

export function body(streamId: number, bytes: Uint8Array, isEnd = false): Buffer {
  return http2Frame(frameType.data, isEnd ? flags.endStream : 0, streamId, bytes);
}
