// What handlers need of the node that serves them. Two forms: the server's Node, and the
// in-process one of test/api, which applies at once.
import type { ClusterId, MemberId } from "../base/ids.ts";
import type { ResponseHeader } from "../proto/etcdserverpb/header.ts";
import type { RangeRequest, RangeResponse } from "../proto/etcdserverpb/kv.ts";
import type { CallLimits } from "../server/call-limits.ts";
import type { Machine } from "../state/machine.ts";
import type { Outcome } from "../state/outcome.ts";

export interface ServingStatus {
  readonly clusterId: ClusterId;
  readonly memberId: MemberId;
  /** Null: none known. */
  readonly leader: MemberId | null;
  readonly term: number;
  /** Indexes. */
  readonly commit: number;
  readonly applied: number;
  readonly isLearner: boolean;
}

export interface ServingNode {
  readonly machine: Machine;
  readonly leases: {
    /** The granted TTL in seconds; 0: no such lease. */
    keepAlive(id: string, limits: CallLimits): Promise<number>;
    /** Whole seconds left; -1: no such lease. */
    timeToLive(id: string, limits: CallLimits): Promise<{ ttl: number; grantedTtl: number }>;
  };
  /** An encoded Command without `proposal`. Refusals, the size limit among them, are thrown. */
  propose(command: Uint8Array, limits: CallLimits): Promise<Outcome>;
  /** Returns when everything acknowledged before the call is applied here. */
  barrier(limits: CallLimits): Promise<void>;
  /** Local, at the newest applied state. */
  range(request: RangeRequest): Promise<RangeResponse>;
  /** One key of the same state: its KeyValue in protobuf's form; undefined: there is none. */
  latest(key: Uint8Array): Uint8Array | undefined;
  /** Returns when the rows that applied compactions drop are gone from this member. */
  compactionDone(limits: CallLimits): Promise<void>;
  status(): ServingStatus;
  header(revision: number): ResponseHeader;
}
