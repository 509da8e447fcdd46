// One raw HTTP/2 connection for load: prepared header blocks, no HPACK decoding, no stream objects,
// so that on a shared machine the load costs far less than the server. It speaks just enough of
// RFC 9113 for unary gRPC: SETTINGS, flow control both ways, PING, and a request per stream.
// A reply counts as served when it carried a DATA frame; gRPC errors come as trailers only.
import { connect } from "node:net";

const frameType = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, window: 8 };
const flagAck = 0x1;
const flagEndStream = 0x1;
const flagEndHeaders = 0x4;
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const windowBytes = 1 << 24;

function frame(type, flags, stream, payload) {
  const bytes = Buffer.allocUnsafe(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, 9);
  return bytes;
}

function literal(nameIndex, value) {
  const text = Buffer.from(value);
  const prefix = nameIndex < 15 ? [nameIndex] : [15, nameIndex - 15];
  return Buffer.concat([Buffer.from([...prefix, text.length]), text]);
}

/** The HPACK block of a gRPC request: static table and plain literals, nothing indexed. */
export function headerBlock(path, authority) {
  const te = Buffer.from("\0\x02te\x08trailers", "latin1");
  return Buffer.concat([
    Buffer.from([0x83, 0x86]), // :method POST, :scheme http
    literal(4, path),
    literal(1, authority),
    literal(31, "application/grpc"),
    te,
  ]);
}

export class H2Connection {
  #socket;
  #rest = Buffer.alloc(0);
  #nextStream = 1;
  #pending = new Map();
  #out = [];
  #flushing = false;
  #sendWindow = 65_535;
  #received = 0;
  #blocked = [];
  #failed = null;

  static open(host, port) {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true }, () => {
        resolve(new H2Connection(socket));
      });
      socket.once("error", reject);
    });
  }

  constructor(socket) {
    this.#socket = socket;
    const settings = Buffer.alloc(6);
    settings.writeUInt16BE(4, 0); // INITIAL_WINDOW_SIZE
    settings.writeUInt32BE(windowBytes, 2);
    const grow = Buffer.alloc(4);
    grow.writeUInt32BE(windowBytes, 0);
    this.#write(preface);
    this.#write(frame(frameType.settings, 0, 0, settings));
    this.#write(frame(frameType.window, 0, 0, grow));
    socket.on("data", (chunk) => this.#read(chunk));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("connection closed")));
  }

  /** Sends one message; `done(ok, bytes)` is called once with the size of the answer. */
  request(headers, message, done) {
    if (this.#failed !== null) return done(false, 0);
    if (this.#sendWindow < message.length + 5) {
      this.#blocked.push([headers, message, done]);
      return;
    }
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#sendWindow -= message.length + 5;
    const bytes = Buffer.allocUnsafe(9 + headers.length + 9 + 5 + message.length);
    bytes.writeUIntBE(headers.length, 0, 3);
    bytes[3] = frameType.headers;
    bytes[4] = flagEndHeaders;
    bytes.writeUInt32BE(stream, 5);
    headers.copy(bytes, 9);
    const at = 9 + headers.length;
    bytes.writeUIntBE(message.length + 5, at, 3);
    bytes[at + 3] = frameType.data;
    bytes[at + 4] = flagEndStream;
    bytes.writeUInt32BE(stream, at + 5);
    bytes[at + 9] = 0;
    bytes.writeUInt32BE(message.length, at + 10);
    message.copy(bytes, at + 14);
    this.#pending.set(stream, { done, bytes: 0 });
    this.#write(bytes);
  }

  close() {
    this.#failed ??= new Error("closed");
    this.#socket.destroy();
  }

  #write(bytes) {
    this.#out.push(bytes);
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      const all = this.#out.length === 1 ? this.#out[0] : Buffer.concat(this.#out);
      this.#out = [];
      this.#socket.write(all);
    });
  }

  #fail(error) {
    if (this.#failed !== null) return;
    this.#failed = error;
    for (const { done } of this.#pending.values()) done(false, 0);
    this.#pending.clear();
  }

  #read(chunk) {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 9) {
      const length = bytes.readUIntBE(at, 3);
      if (bytes.length - at < 9 + length) break;
      this.#frame(bytes, at, length);
      at += 9 + length;
    }
    this.#rest = at === bytes.length ? Buffer.alloc(0) : bytes.subarray(at);
  }

  #frame(bytes, at, length) {
    const type = bytes[at + 3];
    const flags = bytes[at + 4];
    const stream = bytes.readUInt32BE(at + 5);
    if (type === frameType.data) {
      const call = this.#pending.get(stream);
      if (call !== undefined) call.bytes += length;
      this.#replenish(length);
    }
    if (type === frameType.data || type === frameType.headers) {
      if ((flags & flagEndStream) !== 0) this.#finish(stream);
    } else if (type === frameType.reset) {
      this.#finish(stream);
    } else if (type === frameType.settings && (flags & flagAck) === 0) {
      this.#write(frame(frameType.settings, flagAck, 0, Buffer.alloc(0)));
    } else if (type === frameType.ping && (flags & flagAck) === 0) {
      const echo = Buffer.from(bytes.subarray(at + 9, at + 17));
      this.#write(frame(frameType.ping, flagAck, 0, echo));
    } else if (type === frameType.window && stream === 0) {
      this.#sendWindow += bytes.readUInt32BE(at + 9);
      const waiting = this.#blocked;
      this.#blocked = [];
      for (const call of waiting) this.request(...call);
    } else if (type === frameType.goaway) {
      this.#fail(new Error("server sent GOAWAY"));
    }
  }

  #replenish(length) {
    this.#received += length;
    if (this.#received < windowBytes / 4) return;
    const grow = Buffer.alloc(4);
    grow.writeUInt32BE(this.#received, 0);
    this.#received = 0;
    this.#write(frame(frameType.window, 0, 0, grow));
  }

  #finish(stream) {
    const call = this.#pending.get(stream);
    if (call === undefined) return;
    this.#pending.delete(stream);
    call.done(call.bytes > 0, call.bytes);
  }
}
