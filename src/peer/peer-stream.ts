// The outgoing connection to one peer on one channel: dials, introduces itself, sends frames, and
// dials again. One frame is written at a time; what is given meanwhile is the next frame, so a
// slow connection makes fewer and larger ones.
//
//   waiting --backoff over--> dialing --Hello answered--> live
//      ^                         | refused, failed, late     | broken
//      +-------------------------+---------------------------+          closed: from any state
//
// Messages given outside `live`, or beyond the bounds of the queue, are dropped: consensus sends
// what matters again.
import { connect } from "node:net";
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
import { LeaseCalls } from "./lease-calls.ts";
import { frameKind, Link } from "./link.ts";
import type { PeerHost } from "./peer-host.ts";
import { peerLimits } from "./peer-limits.ts";

interface PeerStreamDeps {
  readonly handshake: Handshake;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
}

export class PeerStream {
  readonly #deps: PeerStreamDeps;
  readonly #peer: MemberId;
  readonly #channel: Channel;
  /** Tried in turn; there is at least one. */
  readonly #hosts: readonly PeerHost[];
  #hostAt = 0;
  readonly leases: LeaseCalls;
  #state: "waiting" | "dialing" | "live" | "closed" = "waiting";
  #link: Link | null = null;
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
    options: { peer: MemberId; channel: Channel; hosts: readonly PeerHost[] },
  ) {
    this.#deps = deps;
    this.#peer = options.peer;
    this.#channel = options.channel;
    this.#hosts = options.hosts;
    this.leases = new LeaseCalls(deps.clock, (call) => {
      if (this.#state === "live") this.#link?.write(frameKind.call, call);
      return this.#state === "live";
    });
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
    const link = this.#link;
    if (link === null) return;
    this.#isWriting = true;
    const frame = encodeFrame(this.#takeFrame());
    this.#sentBytes += frame.length;
    link.write(frameKind.messages, frame, () => {
      if (link !== this.#link) return;
      this.#isWriting = false;
      this.flush();
    });
  }

  /** At once and unannounced: the other side shall take it for what it is, a member leaving. */
  close(): void {
    this.#state = "closed";
    this.#hangUp("this member is closing");
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

  #dial(): void {
    this.#state = "dialing";
    const { clock, handshake } = this.#deps;
    const { host, port } = this.#hosts[this.#hostAt] as PeerHost;
    const link: Link = new Link(clock, connect({ host, port, noDelay: true }), {
      frame: (kind, payload) => this.#take(link, kind, payload),
      closed: (cause) => this.#ended(link, cause),
    });
    this.#link = link;
    const hello = handshake.hello(this.#peer, this.#channel);
    link.write(frameKind.hello, Hello.encode(hello).finish());
    this.#timer = clock.after(peerLimits.handshakeMs, () => {
      this.#ended(link, "no answer to the handshake");
    });
  }

  #take(link: Link, kind: number, payload: Buffer): void {
    if (link !== this.#link) return;
    if (this.#state === "dialing" && kind === frameKind.helloResponse) this.#greeted(link, payload);
    else if (this.#state === "live" && kind === frameKind.answer) this.leases.answered(payload);
    else link.destroy(`a frame of kind ${kind} came out of turn`);
  }

  #greeted(link: Link, bytes: Buffer): void {
    const refusal = this.#deps.handshake.judgeResponse(this.#peer, decodeResponse(bytes));
    if (refusal !== null) return this.#ended(link, refusal);
    this.#timer?.cancel();
    this.#failureCount = 0;
    this.#state = "live";
    this.#isWriting = false;
    link.trust();
    this.#deps.logger.info({ peer: this.#peer, channel: this.#channel }, "peer connected");
  }

  #ended(link: Link, cause: string): void {
    if (link !== this.#link || this.#state === "closed") return;
    if (this.#state === "live") {
      const fields = { peer: this.#peer, channel: this.#channel, cause };
      this.#deps.logger.warn(fields, "peer connection lost");
    }
    this.#hangUp(cause);
    this.#state = "waiting";
    this.#failureCount += 1;
    this.#hostAt = (this.#hostAt + 1) % this.#hosts.length;
    this.#timer = this.#deps.clock.after(this.#backoffMs(), () => this.#dial());
  }

  #hangUp(cause: string): void {
    this.#timer?.cancel();
    const link = this.#link;
    this.#link = null;
    link?.destroy(cause);
    this.leases.fail();
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
