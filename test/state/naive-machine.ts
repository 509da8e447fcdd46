// The machine as one would explain it: every revision is a whole copy of the keys, nothing is
// indexed, nothing is shared. What properties compare the real one with.
import { compareBytes } from "../../src/base/bytes.ts";
import type { ErrorCode } from "../../src/base/errors.ts";
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResponse,
} from "../../src/proto/etcdserverpb/kv.ts";
import type { Event, KeyValue } from "../../src/proto/mvccpb/kv.ts";
import type { CommandRequest } from "../../src/state/command.ts";
import type { Outcome } from "../../src/state/outcome.ts";

/** In key order. */
type Pairs = readonly KeyValue[];

const none = new Uint8Array(0);
const header = (revision: number) => ({ clusterId: "0", memberId: "0", revision, raftTerm: 0 });

function isIn(key: Uint8Array, first: Uint8Array, end: Uint8Array): boolean {
  if (end.length === 0) return compareBytes(key, first) === 0;
  const isUnbounded = end.length === 1 && end[0] === 0;
  return compareBytes(first, key) <= 0 && (isUnbounded || compareBytes(key, end) < 0);
}

/** What a range over these pairs answers. */
export function rangeOf(pairs: Pairs, request: RangeRequest, revision: number): RangeResponse {
  const found = pairs.filter(({ key }) => isIn(key, request.key, request.rangeEnd));
  const response = { header: header(revision), count: found.length, more: false, kvs: [] };
  if (request.countOnly) return response;
  const bound = (limit: number, holds: boolean): boolean => limit === 0 || holds;
  const kept = found.filter(
    ({ modRevision, createRevision }) =>
      bound(request.minModRevision, modRevision >= request.minModRevision) &&
      bound(request.maxModRevision, modRevision <= request.maxModRevision) &&
      bound(request.minCreateRevision, createRevision >= request.minCreateRevision) &&
      bound(request.maxCreateRevision, createRevision <= request.maxCreateRevision),
  );
  const by = [
    (left: KeyValue, right: KeyValue) => compareBytes(left.key, right.key),
    (left: KeyValue, right: KeyValue) => left.version - right.version,
    (left: KeyValue, right: KeyValue) => left.createRevision - right.createRevision,
    (left: KeyValue, right: KeyValue) => left.modRevision - right.modRevision,
    (left: KeyValue, right: KeyValue) => compareBytes(left.value, right.value),
  ][request.sortTarget];
  const sign = request.sortOrder === 2 ? -1 : 1;
  kept.sort((left, right) => sign * (by?.(left, right) ?? 0));
  const limit = request.limit > 0 ? request.limit : Infinity;
  const kvs = kept.slice(0, limit).map((kv) => (request.keysOnly ? { ...kv, value: none } : kv));
  return { ...response, kvs, more: kept.length > limit };
}

function compareHolds(
  { result, target, targetUnion, key, rangeEnd }: Compare,
  pairs: Pairs,
): boolean {
  const operand = <T>(kind: string, missing: T): T =>
    targetUnion?.$case === kind ? (targetUnion.value as T) : missing;
  const orderOf = (kv: KeyValue): number =>
    [
      () => kv.version - operand("version", 0),
      () => kv.createRevision - operand("createRevision", 0),
      () => kv.modRevision - operand("modRevision", 0),
      () => compareBytes(kv.value, operand("value", none)),
      () => Number(BigInt(kv.lease) - BigInt(operand("lease", "0"))),
    ][target]?.() ?? 0;
  const holds = (order: number): boolean =>
    [order === 0, order > 0, order < 0, order !== 0][result] ?? true;
  const found = pairs.filter((kv) => isIn(kv.key, key, rangeEnd));
  if (found.length > 0) return found.every((kv) => holds(orderOf(kv)));
  const missing = { key, createRevision: 0, modRevision: 0, version: 0, value: none, lease: "0" };
  return target !== 3 && holds(orderOf(missing));
}

export class NaiveMachine {
  /** By revision; [0] and [1] are empty. */
  readonly #history: Pairs[] = [[], []];
  readonly leases = new Map<string, { ttl: number; grantedIndex: number }>();
  /** Commands applied. */
  #index = 0;
  #compactRevision = -1;
  #pairs: KeyValue[] = [];
  #events: Event[] = [];

  revision(): number {
    return this.#history.length - 1;
  }

  /** As they were when this revision was the newest. */
  pairsAt(revision: number): readonly KeyValue[] {
    return this.#history[revision] ?? [];
  }

  /** What a transaction would have answered then. */
  txnAt(request: TxnRequest, revision: number): TxnResponse {
    const before = this.pairsAt(revision);
    this.#pairs = [...before];
    const response = this.#txn(request, before);
    this.#events = [];
    return response;
  }

  apply(request: CommandRequest): { outcome: Outcome; events: Event[] } {
    const before = this.#history.at(-1) ?? [];
    this.#index += 1;
    this.#pairs = [...before];
    const outcome = this.#run(request, before);
    const events = this.#events;
    if (events.length > 0) this.#history.push(this.#pairs);
    this.#events = [];
    return { outcome, events };
  }

  read(request: RangeRequest): RangeResponse | ErrorCode {
    return (
      this.#revisionError(request.revision) ?? this.#range(request, this.#history.at(-1) ?? [])
    );
  }

  keysOf(lease: string): Uint8Array[] {
    const pairs = this.#history.at(-1) ?? [];
    return pairs.filter((kv) => kv.lease === lease).map(({ key }) => key);
  }

  #run(request: CommandRequest, before: Pairs): Outcome {
    switch (request.$case) {
      case "put": {
        const code = this.#leaseError(request.value) ?? this.#keyError(request.value, before);
        if (code !== null) return { type: "error", code };
        return { type: "put", response: this.#put(request.value) };
      }
      case "deleteRange":
        return { type: "deleteRange", response: this.#delete(request.value) };
      case "txn": {
        const code = this.#txnError(request.value, before);
        if (code !== null) return { type: "error", code };
        const response = this.#txn(request.value, before);
        return { type: "txn", response: { ...response, header: header(this.#now()) } };
      }
      case "compaction": {
        const { revision } = request.value;
        if (revision <= this.#compactRevision) return { type: "error", code: "compacted" };
        if (revision > this.revision()) return { type: "error", code: "futureRev" };
        this.#compactRevision = revision;
        return { type: "compaction", response: { header: header(this.revision()) } };
      }
      case "leaseGrant": {
        const { ID, TTL } = request.value;
        if (this.leases.has(ID)) return { type: "error", code: "leaseExist" };
        this.leases.set(ID, { ttl: TTL, grantedIndex: this.#index });
        return {
          type: "leaseGrant",
          response: { header: header(this.revision()), ID, TTL, error: "" },
        };
      }
      case "leaseRevoke": {
        const { ID } = request.value;
        if (!this.leases.has(ID)) return { type: "error", code: "leaseNotFound" };
        this.#revoke([ID]);
        return { type: "leaseRevoke", response: { header: header(this.#now()) } };
      }
      case "leaseExpire":
        if (request.value.term === 1) {
          const { IDs, judgedIndex } = request.value;
          const meant = (id: string) => (this.leases.get(id)?.grantedIndex ?? 0) <= judgedIndex;
          this.#revoke(IDs.filter(meant));
        }
        return { type: "none" };
      case "memberAttributes":
        return { type: "none" };
    }
  }

  /** The revision as the next operation sees it. */
  #now(): number {
    return this.revision() + (this.#events.length > 0 ? 1 : 0);
  }

  #revisionError(revision: number): ErrorCode | null {
    if (revision > this.revision()) return "futureRev";
    return revision > 0 && revision < this.#compactRevision ? "compacted" : null;
  }

  #leaseError({ lease }: PutRequest): ErrorCode | null {
    return lease !== "0" && !this.leases.has(lease) ? "leaseNotFound" : null;
  }

  #keyError({ key, ignoreLease, ignoreValue }: PutRequest, before: Pairs): ErrorCode | null {
    const exists = before.some((kv) => compareBytes(kv.key, key) === 0);
    return (ignoreLease || ignoreValue) && !exists ? "keyNotFound" : null;
  }

  #branchOf(txn: TxnRequest, before: Pairs): RequestOp[] {
    return txn.compare.every((one) => compareHolds(one, before)) ? txn.success : txn.failure;
  }

  #txnError(txn: TxnRequest, before: Pairs): ErrorCode | null {
    for (const { request } of this.#branchOf(txn, before)) {
      let code: ErrorCode | null = null;
      if (request?.$case === "requestRange") code = this.#revisionError(request.value.revision);
      if (request?.$case === "requestTxn") code = this.#txnError(request.value, before);
      if (request?.$case === "requestPut") {
        code = this.#keyError(request.value, before) ?? this.#leaseError(request.value);
      }
      if (code !== null) return code;
    }
    return null;
  }

  #txn(txn: TxnRequest, before: Pairs): TxnResponse {
    const branch = this.#branchOf(txn, before);
    const responses = branch.map(({ request }): ResponseOp => {
      switch (request?.$case) {
        case "requestRange": {
          const value = this.#range(request.value, this.#pairs);
          return { response: { $case: "responseRange", value } };
        }
        case "requestPut":
          return { response: { $case: "responsePut", value: this.#put(request.value) } };
        case "requestDeleteRange": {
          const value = this.#delete(request.value);
          return { response: { $case: "responseDeleteRange", value } };
        }
        case "requestTxn":
          return { response: { $case: "responseTxn", value: this.#txn(request.value, before) } };
        case undefined:
          return { response: undefined };
      }
    });
    return { header: header(0), succeeded: branch === txn.success, responses };
  }

  #range(request: RangeRequest, newest: Pairs): RangeResponse {
    const pairs = request.revision > 0 ? (this.#history[request.revision] ?? []) : newest;
    return rangeOf(pairs, request, this.#now());
  }

  #put(request: PutRequest): { header: ReturnType<typeof header>; prevKv: KeyValue | undefined } {
    const { key } = request;
    const old = this.#pairs.find((kv) => compareBytes(kv.key, key) === 0);
    const modRevision = this.revision() + 1;
    const kv: KeyValue = {
      key,
      createRevision: old?.createRevision ?? modRevision,
      modRevision,
      version: (old?.version ?? 0) + 1,
      value: request.ignoreValue ? (old?.value ?? none) : request.value,
      lease: request.ignoreLease ? (old?.lease ?? "0") : request.lease,
    };
    const others = this.#pairs.filter((other) => other !== old);
    this.#pairs = [...others, kv].sort((left, right) => compareBytes(left.key, right.key));
    this.#events.push({ type: 0, kv, prevKv: undefined });
    return { header: header(this.#now()), prevKv: request.prevKv ? old : undefined };
  }

  #delete({ key, rangeEnd, prevKv }: DeleteRangeRequest): {
    header: ReturnType<typeof header>;
    deleted: number;
    prevKvs: KeyValue[];
  } {
    const removed = this.#pairs.filter((kv) => isIn(kv.key, key, rangeEnd));
    this.#remove(removed);
    return { header: header(this.#now()), deleted: removed.length, prevKvs: prevKv ? removed : [] };
  }

  #remove(removed: Pairs): void {
    this.#pairs = this.#pairs.filter((kv) => !removed.includes(kv));
    for (const { key } of removed) {
      const zero = { createRevision: 0, version: 0, value: none, lease: "0" };
      const kv = { ...zero, key, modRevision: this.revision() + 1 };
      this.#events.push({ type: 1, kv, prevKv: undefined });
    }
  }

  #revoke(ids: readonly string[]): void {
    this.#remove(this.#pairs.filter(({ lease }) => ids.includes(lease)));
    for (const id of ids) this.leases.delete(id);
  }
}
