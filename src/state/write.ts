// The writes of one command: puts and deletes as requests ask for them, with the lease table kept
// in step with the keys. All of a command's writes share one revision.
//
// Nothing here refuses: what can fail was checked before the first write (checkPut here, checkTxn
// in txn.ts), so a command is applied whole or not at all.
import { assert } from "../base/assert.ts";
import { compareBytes, emptyBytes } from "../base/bytes.ts";
import type { ErrorCode } from "../base/errors.ts";
import { noLease } from "../base/ids.ts";
import type { LeaseId, Revision } from "../base/ids.ts";
import { ResponseHeader } from "../proto/etcdserverpb/header.ts";
import type {
  DeleteRangeRequest,
  DeleteRangeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
} from "../proto/etcdserverpb/kv.ts";
import type { KeyValue } from "../proto/mvccpb/kv.ts";
import type { Leases } from "./lease.ts";
import type { Changes, Mvcc } from "./mvcc.ts";
import type { RevisionEvents } from "./outcome.ts";

/** What the machine knows of a header; the edge adds cluster, member and term. */
export function revisionHeader(revision: Revision): ResponseHeader {
  return ResponseHeader.fromPartial({ revision });
}

/** What forbids a put, with the lease asked first, as in etcd; null: nothing. */
export function checkPut(
  request: PutRequest,
  state: { before: Pick<Mvcc, "find">; leases: Leases },
): ErrorCode | null {
  if (request.lease !== noLease && !state.leases.has(request.lease as LeaseId)) {
    return "leaseNotFound";
  }
  const needsKey = request.ignoreValue || request.ignoreLease;
  return needsKey && state.before.find(request.key) === undefined ? "keyNotFound" : null;
}

export class Writer {
  readonly #changes: Changes;
  readonly #leases: Leases;
  #changed = false;

  constructor(deps: { changes: Changes; leases: Leases }) {
    this.#changes = deps.changes;
    this.#leases = deps.leases;
  }

  /** The store's revision as the next operation sees it. */
  revision(): Revision {
    return this.#changed ? this.#changes.revision : this.#changes.revision - 1;
  }

  /** Ends the command; null: nothing was written, and the revision stays. */
  end(): RevisionEvents | null {
    const events = this.#changes.end();
    assert((events !== null) === this.#changed, "a command's events are its writes");
    return events;
  }

  range(request: RangeRequest): RangeResponse {
    return this.#changes.range(request);
  }

  put(request: PutRequest): PutResponse {
    const { key } = request;
    const previous = this.#changes.find(key);
    const needsValue = request.prevKv || request.ignoreValue;
    const previousKv = needsValue && previous !== undefined ? this.#changes.read(key) : undefined;
    let { value } = request;
    if (request.ignoreValue) {
      assert(previousKv !== undefined, "ignore_value was checked to have a key");
      value = previousKv.value;
    }
    let lease = request.lease as LeaseId;
    if (request.ignoreLease) {
      assert(previous !== undefined, "ignore_lease was checked to have a key");
      lease = previous.lease;
    }
    this.#changes.put(key, value, lease);
    this.#changed = true;
    this.#move(key, previous?.lease ?? noLease, lease);
    const prevKv = request.prevKv ? previousKv : undefined;
    return { header: revisionHeader(this.revision()), prevKv };
  }

  deleteRange(request: DeleteRangeRequest): DeleteRangeResponse {
    const { key, rangeEnd, prevKv: values } = request;
    const removed: KeyValue[] = this.#changes.deleteRange(key, rangeEnd, { values });
    if (removed.length > 0) this.#changed = true;
    for (const { key: removedKey, lease } of removed) {
      this.#move(removedKey, lease as LeaseId, noLease);
    }
    const prevKvs = values ? removed : [];
    return { header: revisionHeader(this.revision()), deleted: removed.length, prevKvs };
  }

  /** Deletes the keys of all these leases, in key order over all of them, then the leases. */
  revoke(leases: readonly LeaseId[]): void {
    const keys = leases.flatMap((id) => this.#leases.keys(id)).sort(compareBytes);
    for (const key of keys) this.deleteRange({ key, rangeEnd: emptyBytes, prevKv: false });
    for (const id of leases) this.#leases.revoke(id);
  }

  #move(key: Uint8Array, from: LeaseId, to: LeaseId): void {
    if (from === to) return;
    if (from !== noLease) this.#leases.detach(from, key);
    if (to !== noLease) this.#leases.attach(to, key);
  }
}
