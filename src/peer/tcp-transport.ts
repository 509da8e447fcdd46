// Transport over TCP: what main.ts gives to the node. For each peer two outgoing connections, bulk
// and urgent, so that a megabyte of entries never delays a heartbeat; each side dials its own.
// Messages of one turn leave in one frame. Peers have their own port. Plain text for now: identity
// is what the handshake says.
import { RequestError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { MemberId, StoreId } from "../base/ids.ts";
import type { Logger } from "../base/logger.ts";
import type { Prng } from "../base/prng.ts";
import { Channel } from "../proto/keelson/peer.ts";
import type { Message } from "../raft/message.ts";
import { Handshake } from "./handshake.ts";
import type { PeerIdentity } from "./handshake.ts";
import { hostOf } from "./peer-host.ts";
import { PeerServer } from "./peer-server.ts";
import { PeerStream } from "./peer-stream.ts";
import type { LeaseForwarding, Transport, TransportReceiver } from "./transport.ts";

export interface PeerAddress {
  readonly id: MemberId;
  readonly peerUrls: readonly string[];
}

interface TcpTransportDeps {
  readonly self: PeerIdentity;
  /** The other members. */
  readonly peers: readonly PeerAddress[];
  /** What the replicated log says (server/known-stores.ts); null: not published yet. */
  readonly replicatedStore: (member: MemberId) => StoreId | null;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly logger: Logger;
}

interface Peer {
  readonly bulk: PeerStream;
  readonly urgent: PeerStream;
}

export class TcpTransport implements Transport {
  readonly #server: PeerServer;
  readonly #peers: ReadonlyMap<MemberId, Peer>;

  private constructor(deps: TcpTransportDeps) {
    const handshake = new Handshake({
      self: deps.self,
      peers: deps.peers.map(({ id }) => id),
      replicatedStore: deps.replicatedStore,
      logger: deps.logger,
    });
    this.#server = new PeerServer({
      ...deps,
      handshake,
      accepted: (from) => {
        this.#peers.get(from)?.urgent.hurry();
        this.#peers.get(from)?.bulk.hurry();
      },
    });
    const dial = ({ id, peerUrls }: PeerAddress, channel: Channel) =>
      new PeerStream({ ...deps, handshake }, { peer: id, channel, hosts: peerUrls.map(hostOf) });
    this.#peers = new Map(
      deps.peers.map((peer) => [
        peer.id,
        { bulk: dial(peer, Channel.BULK), urgent: dial(peer, Channel.URGENT) },
      ]),
    );
  }

  /** Listens; rejects when an address cannot be had. Nobody is answered before start(). */
  static async open(deps: TcpTransportDeps, listenUrls: readonly string[]): Promise<TcpTransport> {
    const transport = new TcpTransport(deps);
    for (const url of listenUrls) await transport.#server.listen(hostOf(url));
    return transport;
  }

  start(receiver: TransportReceiver, leases: LeaseForwarding): void {
    this.#server.start(receiver, leases);
    for (const { bulk, urgent } of this.#peers.values()) {
      urgent.start();
      bulk.start();
    }
  }

  send(messages: readonly Message[]): void {
    for (const message of messages) {
      const peer = this.#peers.get(message.to);
      if (peer === undefined) continue;
      if (isUrgent(message)) peer.urgent.send(message);
      else peer.bulk.send(message);
    }
    for (const { bulk, urgent } of this.#peers.values()) {
      urgent.flush();
      bulk.flush();
    }
  }

  leases(member: MemberId): LeaseForwarding {
    return this.#peers.get(member)?.bulk.leases ?? unreachable;
  }

  connected(): readonly MemberId[] {
    const live = [...this.#peers].filter(
      ([, { bulk, urgent }]) => bulk.isLive() && urgent.isLive(),
    );
    return live.map(([id]) => id);
  }

  /** Messages dropped on the way out, and damaged frames that came in. */
  counts(): { dropped: number; damaged: number } {
    let dropped = 0;
    for (const { bulk, urgent } of this.#peers.values()) {
      dropped += bulk.droppedCount() + urgent.droppedCount();
    }
    return { dropped, damaged: this.#server.damagedCount() };
  }

  /** Bytes of the frames to and from each peer since the start. */
  traffic(): { peer: MemberId; sentBytes: number; receivedBytes: number }[] {
    return [...this.#peers].map(([peer, { bulk, urgent }]) => ({
      peer,
      sentBytes: bulk.sentBytes() + urgent.sentBytes(),
      receivedBytes: this.#server.receivedBytes(peer),
    }));
  }

  close(): Promise<void> {
    for (const { bulk, urgent } of this.#peers.values()) {
      bulk.close();
      urgent.close();
    }
    this.#server.close();
    return Promise.resolve();
  }
}

/** A member that is none. */
const unreachable: LeaseForwarding = {
  renew: () => Promise.reject(RequestError.of("timeoutDueToConnectionLost")),
  remaining: () => Promise.reject(RequestError.of("timeoutDueToConnectionLost")),
};

/** Heartbeats, votes and read barriers: small, and late is as bad as lost. */
function isUrgent({ type }: Message): boolean {
  switch (type) {
    case "heartbeat":
    case "heartbeatResponse":
    case "preVote":
    case "preVoteResponse":
    case "vote":
    case "voteResponse":
    case "readIndex":
    case "readIndexResponse":
    case "proposeRejection":
      return true;
    case "append":
    case "appendResponse":
    case "appendRejection":
    case "propose":
      return false;
  }
}
