// The listening side: members' connections come in here, are judged by their Hello, and hand their
// messages to the node and their lease calls to the lease keeper. One connection a member and
// channel: a newer one replaces an older, so that a copy of a member never talks beside it.
//
// Whatever a peer sends, the process goes on: a damaged frame is counted and ends its connection
// (N12), as does a message whose sender or target is not the one that the handshake named. The end
// of an accepted connection that no newer one replaced is reported: its member may be gone (R1).
import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import type { Clock } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Logger } from "../base/logger.ts";
import { Hello, HelloResponse } from "../proto/keelson/peer.ts";
import { DecodeError } from "../raft/codec.ts";
import { decodeFrame } from "./frame.ts";
import type { Handshake, PeerIdentity } from "./handshake.ts";
import { answerCall } from "./lease-calls.ts";
import { frameKind, Link } from "./link.ts";
import type { PeerHost } from "./peer-host.ts";
import { peerLimits } from "./peer-limits.ts";
import type { LeaseForwarding, TransportReceiver } from "./transport.ts";

interface PeerServerDeps {
  readonly self: PeerIdentity;
  readonly handshake: Handshake;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A member was accepted: it is up, and may be dialed. */
  readonly accepted: (from: MemberId) => void;
}

/** What accepted connections hand their frames to. */
interface Node {
  readonly receiver: TransportReceiver;
  readonly leases: LeaseForwarding;
}

interface Accepted {
  readonly link: Link;
  readonly from: MemberId;
  /** Member and channel. */
  readonly place: string;
}

export class PeerServer {
  readonly #deps: PeerServerDeps;
  readonly #servers: Server[] = [];
  /** Until start() and from close() on: null. */
  #node: Node | null = null;
  readonly #links = new Set<Link>();
  /** By member and channel. */
  readonly #accepted = new Map<string, Accepted>();
  #damagedCount = 0;
  /** Of frames, by member. */
  readonly #receivedBytes = new Map<MemberId, number>();

  constructor(deps: PeerServerDeps) {
    this.#deps = deps;
  }

  /** Resolves with the port; rejects when the address cannot be had. */
  listen({ host, port }: PeerHost): Promise<number> {
    const server = createServer({ noDelay: true }, (socket) => this.#greet(socket));
    server.maxConnections = peerLimits.connectionsMax;
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once("error", (error) => reject(listenFailure(`${host}:${port}`, error)));
      server.listen({ host, port }, () => {
        server.removeAllListeners("error");
        // Accepting can fail (no descriptors left): the port stays, the next connection may do.
        server.on("error", (error) => {
          this.#deps.logger.warn({ error: error.message }, "accepting a peer failed");
        });
        resolve((server.address() as AddressInfo).port);
      });
    });
  }

  /** Until then, whoever dials is told to come again. */
  start(receiver: TransportReceiver, leases: LeaseForwarding): void {
    this.#node = { receiver, leases };
  }

  receivedBytes(from: MemberId): number {
    return this.#receivedBytes.get(from) ?? 0;
  }

  /** Frames that did not match their checksum, or did not decode. */
  damagedCount(): number {
    return this.#damagedCount;
  }

  close(): void {
    this.#node = null;
    for (const server of this.#servers) server.close();
    for (const link of this.#links) link.destroy("this member is closing");
  }

  #greet(socket: Socket): void {
    let accepted: Accepted | null = null;
    const link: Link = new Link(this.#deps.clock, socket, {
      frame: (kind, payload) => {
        if (accepted !== null) return this.#take(accepted, kind, payload);
        limit.cancel();
        accepted = this.#judge(link, kind, payload);
      },
      closed: () => {
        limit.cancel();
        this.#links.delete(link);
        if (accepted !== null) this.#left(accepted);
      },
    });
    const limit = this.#deps.clock.after(peerLimits.handshakeMs, () => {
      link.destroy("no handshake came");
    });
    this.#links.add(link);
  }

  /** Null: refused, and told why. */
  #judge(link: Link, kind: number, payload: Buffer): Accepted | null {
    if (this.#node === null) {
      link.end("the member is starting");
      return null;
    }
    const { handshake } = this.#deps;
    const hello = kind === frameKind.hello ? decodeHello(payload) : null;
    const refusal = hello === null ? "the handshake is malformed" : handshake.judgeHello(hello);
    const response = handshake.response(refusal ?? "");
    link.write(frameKind.helloResponse, HelloResponse.encode(response).finish());
    if (hello === null || refusal !== null) {
      link.end(refusal ?? "");
      return null;
    }
    link.trust();
    const from = hello.from as MemberId;
    const accepted = { link, from, place: `${from}/${hello.channel}` };
    const older = this.#accepted.get(accepted.place);
    this.#accepted.set(accepted.place, accepted);
    older?.link.destroy("a newer connection of this member came");
    this.#deps.accepted(from);
    return accepted;
  }

  #left(accepted: Accepted): void {
    if (this.#accepted.get(accepted.place) !== accepted) return;
    this.#accepted.delete(accepted.place);
    this.#node?.receiver.disconnected(accepted.from);
  }

  #take(accepted: Accepted, kind: number, payload: Buffer): void {
    const node = this.#node;
    if (node === null) return;
    if (kind === frameKind.messages) this.#receive(accepted, payload, node.receiver);
    else if (kind === frameKind.call) void this.#answer(accepted, payload, node.leases);
    else accepted.link.destroy(`a frame of kind ${kind} came out of turn`);
  }

  #receive({ from, link }: Accepted, frame: Buffer, receiver: TransportReceiver): void {
    this.#receivedBytes.set(from, this.receivedBytes(from) + frame.length);
    try {
      for (const message of decodeFrame(frame)) {
        if (message.from !== from || message.to !== this.#deps.self.member) {
          throw new DecodeError(`a message from ${message.from} to ${message.to}`);
        }
        receiver.receive(message);
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#damage({ from, link }, error.message);
    }
  }

  async #answer({ from, link }: Accepted, call: Buffer, leases: LeaseForwarding): Promise<void> {
    const answer = await answerCall(call, leases);
    if (answer === null) this.#damage({ from, link }, "a malformed lease call");
    else link.write(frameKind.answer, answer);
  }

  #damage({ from, link }: Pick<Accepted, "from" | "link">, cause: string): void {
    this.#damagedCount += 1;
    this.#deps.logger.error({ peer: from, cause }, "damaged frame");
    link.destroy(cause);
  }
}

function listenFailure(address: string, cause: Error): Error {
  const code = "code" in cause ? { code: cause.code } : {};
  const text = `cannot listen for peers on ${address}: ${cause.message}`;
  return Object.assign(new Error(text, { cause }), code);
}

function decodeHello(bytes: Buffer): Hello | null {
  try {
    return Hello.decode(bytes);
  } catch {
    // The decoder's errors only: it runs no code of ours.
    return null;
  }
}
