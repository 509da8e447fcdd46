// The outgoing stream to one peer on one channel: dials, introduces itself, sends frames, and
// dials again. One frame is written at a time; what is given meanwhile is the next frame, so a
// slow connection makes fewer and larger ones.
//
//   waiting --backoff over--> dialing --Hello answered--> live
//      ^                         | refused, failed, late     | broken
//      +-------------------------+---------------------------+          closed: from any state
//
// Messages given outside `live`, or beyond the bounds of the queue, are dropped: consensus sends
// what matters again.
import { Client, credentials } from "@grpc/grpc-js";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import type { Clock, Timer } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Logger } from "../base/logger.ts";
import type { Prng } from "../base/prng.ts";
import { Hello, HelloResponse } from "../proto/keelson/peer.ts";
import type { Channel } from "../proto/keelson/peer.ts";
import { messageBytesMax } from "../raft/codec.ts";
import type { Message } from "../raft/message.ts";
import { encodeFrame } from "./frame.ts";
import type { Handshake } from "./handshake.ts";
import { clientOptions, peerLimits } from "./peer-limits.ts";
import { streamMethod } from "./peer-methods.ts";

interface PeerStreamDeps {
  readonly handshake: Handshake;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
}

type Call = ClientDuplexStream<Buffer, Buffer>;

export class PeerStream {
  readonly #deps: PeerStreamDeps;
  readonly #peer: MemberId;
  readonly #channel: Channel;
  /** host:port, tried in turn; there is at least one. */
  readonly #targets: readonly string[];
  #targetAt = 0;
  #state: "waiting" | "dialing" | "live" | "closed" = "waiting";
  #client: Client;
  #call: Call | null = null;
  /** The pause before the next dial, or the limit of the handshake. */
  #timer: Timer | null = null;
  #failureCount = 0;
  /** Not yet in a frame. At most outgoingCountMax, and about outgoingBytesMax. */
  #queue: Message[] = [];
  #queueBytes = 0;
  #isWriting = false;
  #droppedCount = 0;
  #sentBytes = 0;

  constructor(
    deps: PeerStreamDeps,
    options: { peer: MemberId; channel: Channel; targets: readonly string[] },
  ) {
    this.#deps = deps;
    this.#peer = options.peer;
    this.#channel = options.channel;
    this.#targets = options.targets;
    this.#client = this.#newClient();
  }

  start(): void {
    this.#dial();
  }

  /** The peer is known to be up: dials now instead of when the pause is over. */
  hurry(): void {
    if (this.#state !== "waiting" || this.#failureCount === 0) return;
    this.#failureCount = 0;
    this.#timer?.cancel();
    this.#dial();
  }

  isLive(): boolean {
    return this.#state === "live";
  }

  /** For unary calls on the same connection. */
  client(): Client {
    return this.#client;
  }

  /** Messages dropped because the connection was down or its queue full. */
  droppedCount(): number {
    return this.#droppedCount;
  }

  /** Of frames. */
  sentBytes(): number {
    return this.#sentBytes;
  }

  send(message: Message): void {
    if (
      this.#state !== "live" ||
      this.#queue.length >= peerLimits.outgoingCountMax ||
      this.#queueBytes >= peerLimits.outgoingBytesMax
    ) {
      this.#droppedCount += 1;
      return;
    }
    this.#queue.push(message);
    this.#queueBytes += messageBytesMax(message);
  }

  /** Writes what was given, as one frame if it fits one. */
  flush(): void {
    if (this.#state !== "live" || this.#isWriting || this.#queue.length === 0) return;
    const call = this.#call;
    if (call === null) return;
    this.#isWriting = true;
    const frame = encodeFrame(this.#takeFrame());
    this.#sentBytes += frame.length;
    call.write(frame, () => {
      if (call !== this.#call) return;
      this.#isWriting = false;
      this.flush();
    });
  }

  /** At once and unannounced: the other side shall take it for what it is, a member leaving. */
  close(): void {
    this.#state = "closed";
    this.#hangUp();
    this.#client.close();
  }

  #takeFrame(): Message[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && bytes < peerLimits.frameBytesTarget) {
      bytes += messageBytesMax(this.#queue[count] as Message);
      count += 1;
    }
    const taken = this.#queue.splice(0, count);
    this.#queueBytes -= bytes;
    return taken;
  }

  #newClient(): Client {
    const target = this.#targets[this.#targetAt] as string;
    return new Client(target, credentials.createInsecure(), clientOptions);
  }

  #dial(): void {
    this.#state = "dialing";
    const { path, requestSerialize, responseDeserialize } = streamMethod;
    const call = this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    this.#call = call;
    call.on("data", (bytes: Buffer) => this.#greeted(call, bytes));
    call.on("status", ({ details }) => this.#ended(call, details));
    // A status comes with every error, and tells the same.
    call.on("error", () => {});
    const hello = this.#deps.handshake.hello(this.#peer, this.#channel);
    call.write(Buffer.from(Hello.encode(hello).finish()));
    this.#timer = this.#deps.clock.after(peerLimits.handshakeMs, () => {
      this.#ended(call, "no answer to the handshake");
    });
  }

  #greeted(call: Call, bytes: Buffer): void {
    if (call !== this.#call || this.#state !== "dialing") return;
    const refusal = this.#deps.handshake.judgeResponse(this.#peer, decodeResponse(bytes));
    if (refusal !== null) return this.#ended(call, refusal);
    this.#timer?.cancel();
    this.#failureCount = 0;
    this.#state = "live";
    this.#isWriting = false;
    this.#deps.logger.info({ peer: this.#peer, channel: this.#channel }, "peer connected");
  }

  #ended(call: Call, cause: string): void {
    if (call !== this.#call || this.#state === "closed") return;
    if (this.#state === "live") {
      const fields = { peer: this.#peer, channel: this.#channel, cause };
      this.#deps.logger.warn(fields, "peer connection lost");
    }
    this.#hangUp();
    this.#state = "waiting";
    this.#failureCount += 1;
    this.#moveOn();
    this.#timer = this.#deps.clock.after(this.#backoffMs(), () => this.#dial());
  }

  /** To the next address, if there are several; a client of its own each time, since gRPC's keeps
   * a pause of its own after a failure. */
  #moveOn(): void {
    this.#targetAt = (this.#targetAt + 1) % this.#targets.length;
    this.#client.close();
    this.#client = this.#newClient();
  }

  #hangUp(): void {
    this.#timer?.cancel();
    const call = this.#call;
    this.#call = null;
    call?.cancel();
    this.#droppedCount += this.#queue.length;
    this.#queue = [];
    this.#queueBytes = 0;
  }

  /** Doubles from the least to the most; half of it is chance, against storms (N11). */
  #backoffMs(): number {
    const { reconnectMsMin, reconnectMsMax } = peerLimits;
    const doubled = reconnectMsMin * 2 ** Math.min(this.#failureCount - 1, 10);
    const full = Math.min(reconnectMsMax, doubled);
    return this.#deps.prng.between(Math.ceil(full / 2), full);
  }
}

/** What does not decode is as good as a refusal. */
function decodeResponse(bytes: Buffer): HelloResponse {
  try {
    return HelloResponse.decode(bytes);
  } catch {
    // The decoder's errors only: it runs no code of ours.
    return HelloResponse.fromPartial({ refusal: "its answer to the handshake is malformed" });
  }
}
