// HTTP/2 frames by hand over a plain socket, for what node:http2 refuses to send: floods, half
// frames, wrong prefaces.
import type { Socket } from "node:net";
import { connect } from "node:net";

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export const frameType = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export function http2Frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK without compression and without touching the dynamic table. */
export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) =>
      Buffer.concat([Buffer.from([0x00]), hpackString(name), hpackString(value)]),
    ),
  );
}

function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
  length.push(rest);
  return Buffer.concat([Buffer.from(length), bytes]);
}

export function requestHeaders(path: string): Buffer {
  return headerBlock([
    [":method", "POST"],
    [":scheme", "http"],
    [":authority", "test"],
    [":path", path],
    ["content-type", "application/grpc"],
  ]);
}

export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export class RawSocket {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  isClosed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => this.#chunks.push(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isClosed = true;
    });
  }

  static async connect(port: number): Promise<RawSocket> {
    const socket = connect(port, "127.0.0.1");
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new RawSocket(socket);
  }

  send(...parts: readonly Uint8Array[]): this {
    if (!this.isClosed) this.socket.write(Buffer.concat(parts));
    return this;
  }

  frames(): ReceivedFrame[] {
    const bytes = Buffer.concat(this.#chunks);
    const frames: ReceivedFrame[] = [];
    for (let at = 0; at + 9 <= bytes.length;) {
      const end = at + 9 + bytes.readUIntBE(at, 3);
      frames.push({
        type: bytes.readUInt8(at + 3),
        flags: bytes.readUInt8(at + 4),
        streamId: bytes.readUInt32BE(at + 5) & 0x7fffffff,
        payload: bytes.subarray(at + 9, end),
      });
      at = end;
    }
    return frames;
  }

  /** Code and text of the first GOAWAY, null before it. */
  goaway(): { code: number; text: string } | null {
    const frame = this.frames().find(({ type }) => type === frameType.goaway);
    if (frame === undefined) return null;
    return { code: frame.payload.readUInt32BE(4), text: frame.payload.subarray(8).toString() };
  }

  close(): void {
    this.socket.destroy();
  }
}
