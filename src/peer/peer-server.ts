// The listening side: members' streams come in here, are judged by their Hello, and hand their
// messages to the node. One stream a member and channel: a newer one replaces an older, so that a
// copy of a member never talks beside it.
//
// Whatever a peer sends, the process goes on: a damaged frame is counted and ends its stream
// (N12), as does a message whose sender or target is not the one that the handshake named. The end
// of an accepted stream that no newer one replaced is reported: its member may be gone (R1).
import {
  Server,
  ServerCredentials,
  logVerbosity,
  setLogVerbosity,
  status as grpcCode,
} from "@grpc/grpc-js";
import type { ServerDuplexStream, ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import { RequestError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { MemberId } from "../base/ids.ts";
import type { Logger } from "../base/logger.ts";
import { Hello, HelloResponse } from "../proto/keelson/peer.ts";
import type {
  LeaseRemainingRequest,
  LeaseRemainingResponse,
  LeaseRenewRequest,
  LeaseRenewResponse,
} from "../proto/keelson/peer.ts";
import { DecodeError } from "../raft/codec.ts";
import { decodeFrame } from "./frame.ts";
import type { Handshake, PeerIdentity } from "./handshake.ts";
import { peerLimits, serverOptions } from "./peer-limits.ts";
import {
  clusterHeader,
  remainingMethod,
  renewMethod,
  streamMethod,
  targetHeader,
} from "./peer-methods.ts";
import type { LeaseForwarding, TransportReceiver } from "./transport.ts";

interface PeerServerDeps {
  readonly self: PeerIdentity;
  readonly handshake: Handshake;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A member was accepted: it is up, and may be dialed. */
  readonly accepted: (from: MemberId) => void;
}

type Stream = ServerDuplexStream<Buffer, Buffer>;

interface Accepted {
  readonly stream: Stream;
  readonly from: MemberId;
  /** Member and channel. */
  readonly place: string;
}

export class PeerServer {
  readonly #deps: PeerServerDeps;
  readonly #server = new Server(serverOptions);
  #receiver: TransportReceiver | null = null;
  #leases: LeaseForwarding | null = null;
  /** By member and channel. */
  readonly #accepted = new Map<string, Accepted>();
  #damagedCount = 0;
  /** Of frames, by member. */
  readonly #receivedBytes = new Map<MemberId, number>();

  constructor(deps: PeerServerDeps) {
    this.#deps = deps;
    this.#server.addService(
      { stream: streamMethod, renew: renewMethod, remaining: remainingMethod },
      {
        stream: (stream: Stream) => this.#greet(stream),
        renew: (
          call: ServerUnaryCall<LeaseRenewRequest, LeaseRenewResponse>,
          reply: sendUnaryData<LeaseRenewResponse>,
        ) =>
          void this.#answer(call, reply, async (leases) => ({
            TTLs: [...(await leases.renew(call.request.IDs))],
          })),
        remaining: (
          call: ServerUnaryCall<LeaseRemainingRequest, LeaseRemainingResponse>,
          reply: sendUnaryData<LeaseRemainingResponse>,
        ) =>
          void this.#answer(call, reply, async (leases) => {
            const { ttl, grantedTtl } = await leases.remaining(call.request.ID);
            return { TTL: ttl, grantedTTL: grantedTtl };
          }),
      },
    );
  }

  /** Resolves with the port; rejects when the address cannot be had. */
  listen(address: string): Promise<number> {
    // gRPC would write to stderr by itself what is thrown and logged here anyway.
    setLogVerbosity(logVerbosity.NONE);
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
        if (error === null) resolve(port);
        else reject(listenFailure(address, error));
      });
    });
  }

  /** Until then, whoever dials is told to come again. */
  start(receiver: TransportReceiver, leases: LeaseForwarding): void {
    this.#receiver = receiver;
    this.#leases = leases;
  }

  receivedBytes(from: MemberId): number {
    return this.#receivedBytes.get(from) ?? 0;
  }

  /** Frames that did not match their checksum, or did not decode. */
  damagedCount(): number {
    return this.#damagedCount;
  }

  close(): void {
    this.#receiver = null;
    this.#leases = null;
    this.#server.forceShutdown();
  }

  #greet(stream: Stream): void {
    // What an error says is told by the end of the stream.
    stream.on("error", () => {});
    const limit = this.#deps.clock.after(peerLimits.handshakeMs, () => stream.destroy());
    stream.once("close", () => limit.cancel());
    stream.once("data", (bytes: Buffer) => {
      limit.cancel();
      this.#judge(stream, bytes);
    });
  }

  #judge(stream: Stream, bytes: Buffer): void {
    const receiver = this.#receiver;
    if (receiver === null) {
      stream.emit("error", { code: grpcCode.UNAVAILABLE, details: "the member is starting" });
      return;
    }
    const { handshake } = this.#deps;
    const hello = decodeHello(bytes);
    const refusal = hello === null ? "the handshake is malformed" : handshake.judgeHello(hello);
    const response = HelloResponse.encode(handshake.response(refusal ?? "")).finish();
    stream.write(Buffer.from(response));
    if (hello === null || refusal !== null) return void stream.end();
    this.#accept(stream, hello, receiver);
  }

  #accept(stream: Stream, hello: Hello, receiver: TransportReceiver): void {
    const from = hello.from as MemberId;
    const accepted = { stream, from, place: `${from}/${hello.channel}` };
    const older = this.#accepted.get(accepted.place);
    this.#accepted.set(accepted.place, accepted);
    older?.stream.destroy();
    this.#deps.accepted(from);
    stream.on("data", (frame: Buffer) => this.#take(accepted, frame, receiver));
    stream.once("close", () => {
      if (this.#accepted.get(accepted.place) !== accepted) return;
      this.#accepted.delete(accepted.place);
      receiver.disconnected(from);
    });
  }

  #take(accepted: Accepted, frame: Buffer, receiver: TransportReceiver): void {
    const { from } = accepted;
    this.#receivedBytes.set(from, this.receivedBytes(from) + frame.length);
    try {
      for (const message of decodeFrame(frame)) {
        if (message.from !== accepted.from || message.to !== this.#deps.self.member) {
          throw new DecodeError(`a message from ${message.from} to ${message.to}`);
        }
        receiver.receive(message);
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#damagedCount += 1;
      this.#deps.logger.error({ peer: accepted.from, cause: error.message }, "damaged frame");
      accepted.stream.destroy();
    }
  }

  async #answer<Request, Response>(
    call: ServerUnaryCall<Request, Response>,
    reply: sendUnaryData<Response>,
    ask: (leases: LeaseForwarding) => Promise<Response>,
  ): Promise<void> {
    try {
      const { cluster, member } = this.#deps.self;
      const [calledCluster] = call.metadata.get(clusterHeader);
      const [calledMember] = call.metadata.get(targetHeader);
      if (calledCluster !== cluster) throw RequestError.of("clusterIDMismatch");
      if (calledMember !== member || this.#leases === null) throw RequestError.of("notLeader");
      reply(null, await ask(this.#leases));
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const name = grpcCode[error.status] as keyof typeof grpcCode;
      reply({ code: grpcCode[name], details: error.message });
    }
  }
}

/** gRPC keeps of the system's error only the words; callers go by the code. */
function listenFailure(address: string, cause: Error): Error {
  const code = /\bE[A-Z]{3,}\b/.exec(cause.message)?.[0];
  const error = new Error(`cannot listen for peers on ${address}: ${cause.message}`, { cause });
  return Object.assign(error, code === undefined ? {} : { code });
}

function decodeHello(bytes: Buffer): Hello | null {
  try {
    return Hello.decode(bytes);
  } catch {
    // The decoder's errors only: it runs no code of ours.
    return null;
  }
}
