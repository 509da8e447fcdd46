// A gRPC client that is nothing but node:http2: it sends what a test says, also what no real
// client would (split frames, wrong flags, no half-close), and reports the raw answer.
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { connect, constants } from "node:http2";

export interface RawAnswer {
  readonly httpStatus: number;
  readonly status: number;
  readonly text: string;
  readonly messages: readonly Buffer[];
  readonly headers: IncomingHttpHeaders;
  readonly resetCode: number;
  /** The status came in the only header block. */
  readonly isTrailersOnly: boolean;
}

export type RawHeaders = Readonly<Record<string, string | undefined>>;

export class RawClient {
  readonly session: ClientHttp2Session;
  readonly #closed: Promise<void>;
  /** The last GOAWAY: its code and its text. */
  goaway: { code: number; text: string } | null = null;

  private constructor(session: ClientHttp2Session) {
    this.session = session;
    this.#closed = new Promise((resolve) => session.once("close", () => resolve()));
    session.on("error", () => {});
    session.on("goaway", (code, _last, opaque) => {
      this.goaway ??= { code, text: opaque === undefined ? "" : Buffer.from(opaque).toString() };
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const client = new RawClient(connect(`http://127.0.0.1:${port}`));
    await new Promise<void>((resolve, reject) => {
      client.session.once("remoteSettings", () => resolve());
      client.session.once("error", reject);
    });
    return client;
  }

  /** Opens a call; a header of value undefined is left out. */
  open(path: string, headers: RawHeaders = {}): RawCall {
    const all: Record<string, string> = {};
    const wanted = {
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    };
    for (const [name, value] of Object.entries(wanted)) {
      if (value !== undefined) all[name] = value;
    }
    return new RawCall(this.session.request(all));
  }

  /** One message, half-close, and the answer. */
  async unary(path: string, message: Uint8Array, headers: RawHeaders = {}): Promise<RawAnswer> {
    const call = this.open(path, headers);
    call.send(frameOf(message)).halfClose();
    return call.answer();
  }

  whenClosed(): Promise<void> {
    return this.#closed;
  }

  async close(): Promise<void> {
    this.session.destroy();
    await this.#closed;
  }
}

export class RawCall {
  readonly stream: ClientHttp2Stream;
  readonly #answer: Promise<RawAnswer>;
  /** Response bytes so far. */
  receivedBytes = 0;

  constructor(stream: ClientHttp2Stream) {
    this.stream = stream;
    this.#answer = this.#gather();
  }

  send(bytes: Uint8Array): this {
    this.stream.write(bytes);
    return this;
  }

  halfClose(): this {
    this.stream.end();
    return this;
  }

  reset(): void {
    this.stream.close(constants.NGHTTP2_CANCEL);
  }

  /** Stops reading: flow control then holds the server back. */
  pause(): this {
    this.stream.pause();
    return this;
  }

  answer(): Promise<RawAnswer> {
    return this.#answer;
  }

  #gather(): Promise<RawAnswer> {
    const { stream } = this;
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const chunks: Buffer[] = [];
    stream.on("response", (received) => {
      headers = received;
    });
    stream.on("trailers", (received) => {
      trailers = received;
    });
    stream.on("data", (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      chunks.push(chunk);
    });
    stream.on("error", () => {});
    return new Promise((resolve) => {
      stream.once("close", () => {
        const isTrailersOnly = headers["grpc-status"] !== undefined;
        const end = isTrailersOnly ? headers : trailers;
        resolve({
          httpStatus: Number(headers[":status"] ?? 0),
          status: Number(end["grpc-status"] ?? -1),
          text: decodeURIComponent(String(end["grpc-message"] ?? "")),
          messages: messagesOf(Buffer.concat(chunks)),
          headers,
          resetCode: stream.rstCode ?? 0,
          isTrailersOnly,
        });
      });
    });
  }
}

export function frameOf(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

export function messagesOf(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at + 5 <= bytes.length;) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    messages.push(bytes.subarray(at + 5, end));
    at = end;
  }
  return messages;
}
