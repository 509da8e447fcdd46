// The Lease service: LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, LeaseLeases.
//
// Grants and revocations go through the log. Renewals and remaining times are known to the leader
// alone; the node's lease keeper asks it, whichever member the client speaks to. What is random or
// configured (an id that the client left open, the minimum TTL) is settled here, before the
// command enters the log, so that every member grants the same.
import { noLease } from "../base/ids.ts";
import type { LeaseId } from "../base/ids.ts";
import type { Prng } from "../base/prng.ts";
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
} from "../proto/etcdserverpb/lease.ts";
import type { ApiOptions } from "./api-options.ts";
import { decodeRequest, propose } from "./call.ts";
import type { Method, StreamMethod, UnaryMethod } from "./method.ts";
import {
  emptyShape,
  leaseGrantShape,
  leaseKeepAliveShape,
  leaseRevokeShape,
  leaseTimeToLiveShape,
} from "./request-shapes.ts";
import { ResponseEncoder } from "./response-encoder.ts";
import type { ServingNode } from "./serving-node.ts";

interface LeaseDeps {
  readonly node: ServingNode;
  readonly responses: ResponseEncoder;
}

export function leaseMethods(
  { node, random }: { node: ServingNode; random: Prng },
  options: ApiOptions,
): [string, Method][] {
  const responses = new ResponseEncoder(node);
  return [
    ["/etcdserverpb.Lease/LeaseGrant", grant({ node, random, responses }, options)],
    ["/etcdserverpb.Lease/LeaseRevoke", revoke({ node, responses })],
    ["/etcdserverpb.Lease/LeaseKeepAlive", keepAlive(node)],
    ["/etcdserverpb.Lease/LeaseTimeToLive", timeToLive(node)],
    ["/etcdserverpb.Lease/LeaseLeases", leases(node)],
  ];
}

function grant(
  { node, random, responses }: LeaseDeps & { random: Prng },
  options: ApiOptions,
): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const { message } = decodeRequest(LeaseGrantRequest, leaseGrantShape, bytes);
      const ID = message.ID === noLease ? randomLeaseId(random) : message.ID;
      const TTL = Math.max(message.TTL, options.leaseTtlSecondsMin);
      const request = LeaseGrantRequest.encode({ ID, TTL }).finish();
      const { response } = await propose(node, { kind: "leaseGrant", request }, context);
      return responses.encode(LeaseGrantResponse, response);
    },
  };
}

/** Positive, 63 random bits. */
function randomLeaseId(random: Prng): LeaseId {
  const high = BigInt(random.below(0x80000000));
  const id = (high << 32n) | BigInt(random.uint32());
  return (id === 0n ? "1" : id.toString()) as LeaseId;
}

function revoke({ node, responses }: LeaseDeps): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const request = decodeRequest(LeaseRevokeRequest, leaseRevokeShape, bytes);
      const command = { kind: "leaseRevoke", request: request.bytes } as const;
      const { response } = await propose(node, command, context);
      return responses.encode(LeaseRevokeResponse, response);
    },
  };
}

// The header's revision is read before the renewal: a client that sees a TTL above 0 knows that
// the lease lived at that revision.
function keepAlive(node: ServingNode): StreamMethod {
  return {
    kind: "stream",
    async handle(requests, sink, context) {
      for await (const bytes of requests) {
        const { message } = decodeRequest(LeaseKeepAliveRequest, leaseKeepAliveShape, bytes);
        const header = node.header(node.machine.mvcc.revision());
        const TTL = await node.leases.keepAlive(message.ID, context);
        const response = LeaseKeepAliveResponse.encode({ header, ID: message.ID, TTL }).finish();
        if (!sink.write(response)) await sink.drained();
        if (context.signal.aborted) return;
      }
    },
  };
}

function timeToLive(node: ServingNode): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes, context) {
      const { message } = decodeRequest(LeaseTimeToLiveRequest, leaseTimeToLiveShape, bytes);
      const { ID } = message;
      const { ttl: TTL, grantedTtl } = await node.leases.timeToLive(ID, context);
      // The leader knows the time, but the keys are read here: as fresh as the leader's are.
      if (message.keys) await node.barrier(context);
      const keys = message.keys ? node.machine.leases.keys(ID as LeaseId) : [];
      const header = node.header(node.machine.mvcc.revision());
      return LeaseTimeToLiveResponse.encode({
        header,
        ID,
        TTL,
        grantedTTL: grantedTtl,
        keys,
      }).finish();
    },
  };
}

// Local and without a barrier, as etcd. In the order granted: remaining times are the leader's.
function leases(node: ServingNode): UnaryMethod {
  return {
    kind: "unary",
    async handle(bytes) {
      decodeRequest(LeaseLeasesRequest, emptyShape, bytes);
      const header = node.header(node.machine.mvcc.revision());
      const found = node.machine.leases.list().map((ID) => ({ ID }));
      return LeaseLeasesResponse.encode({ header, leases: found }).finish();
    },
  };
}
