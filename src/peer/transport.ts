// Messages to other members. Two forms: gRPC streams between processes, and the simulator's
// network. Delivery is best effort: lost, doubled, reordered and late are all legal.
import type { MemberId } from "../base/ids.ts";
import type { Message } from "../raft/message.ts";

/** What a transport calls on arrival; it must not throw for any message that decodes. */
export interface TransportReceiver {
  receive(message: Message): void;
  /** The connection from this peer was reset or closed without notice (R1). */
  disconnected(peer: MemberId): void;
}

/** A lease call that the leader answers for another member; see proto/keelson/peer.proto. */
export interface LeaseForwarding {
  /**
   * For each lease, in their order: granted TTL in seconds; 0: no such lease; -1: its expiry is
   * under way, ask again. Throws RequestError when this member cannot say.
   */
  renew(leases: readonly string[]): Promise<readonly number[]>;
  remaining(lease: string): Promise<{ ttl: number; grantedTtl: number }>;
}

export interface Transport {
  /** Starts delivering; called once, before any send. */
  start(receiver: TransportReceiver, leases: LeaseForwarding): void;
  /** Takes ownership. Messages to one peer given in one turn leave in one write. Never blocks:
   * what a bounded queue cannot hold is dropped, newest first for appends. */
  send(messages: readonly Message[]): void;
  /** The lease calls of another member. */
  leases(member: MemberId): LeaseForwarding;
  /** Members with a live connection now. */
  connected(): readonly MemberId[];
  close(): Promise<void>;
}
