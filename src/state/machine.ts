// The replicated state machine: committed entries in, outcomes and events out.
//
// Synchronous and deterministic: the same entries give the same rows, outcomes and digest on every
// member, whatever its clock, its configuration or its restarts. It decides nothing that time or
// chance decides; what the proposer chose (a lease id, a granted TTL) is in the command. Each entry
// is applied once, in order; it ends with store.commit, so its writes and the applied record stand
// or fall together. A command moves the revision by one when it changes a key, otherwise not.
//
//   entry → decode → (permission, once there is auth: first, and at this log position)
//         → check → write → events, outcome → commit
import { AssertionError, assert } from "../base/assert.ts";
import type { ErrorCode } from "../base/errors.ts";
import { noLease } from "../base/ids.ts";
import type { Index, LeaseId, Term } from "../base/ids.ts";
import type {
  CompactionRequest,
  DeleteRangeRequest,
  PutRequest,
  TxnRequest,
} from "../proto/etcdserverpb/kv.ts";
import type { LeaseGrantRequest, LeaseRevokeRequest } from "../proto/etcdserverpb/lease.ts";
import type { LeaseExpire, MemberAttributes } from "../proto/keelson/command.ts";
import type { StateStore } from "../store/state-store.ts";
import { decodeCommand } from "./command.ts";
import type { CommandRequest, MachineEntry } from "./command.ts";
import { Leases, leaseTtlSecondsMax } from "./lease.ts";
import { Members } from "./members.ts";
import type { BootstrapMember } from "./members.ts";
import type { Mvcc } from "./mvcc.ts";
import type { AppliedEntry, Outcome, RevisionEvents } from "./outcome.ts";
import { checkTxn, planTxn, runTxn } from "./txn.ts";
import type { TxnPlan } from "./txn.ts";
import { Writer, checkPut, revisionHeader } from "./write.ts";

interface Result {
  readonly outcome: Outcome;
  readonly events: RevisionEvents | null;
}

const nothing: Result = { outcome: { type: "none" }, events: null };

function refused(code: ErrorCode): Result {
  return { outcome: { type: "error", code }, events: null };
}

/** What opening the store found: see server/open-state.ts. */
export interface StateRows {
  readonly store: StateStore;
  readonly mvcc: Mvcc;
  readonly leaseRows: readonly Uint8Array[];
  readonly memberRows: readonly Uint8Array[];
}

/** The machine as of the store's applied record: an empty store gives a new one. */
export function restoreMachine(
  { store, mvcc, leaseRows, memberRows }: StateRows,
  bootstrap: readonly BootstrapMember[],
): Machine {
  const leases = new Leases({ store });
  for (const row of leaseRows) leases.restore(row);
  mvcc.eachLeased((key, lease) => leases.attach(lease, key));
  const members = new Members({ store }, bootstrap);
  for (const row of memberRows) members.restore(row);
  return new Machine({ store, mvcc, leases, members });
}

export class Machine {
  readonly mvcc: Mvcc;
  readonly leases: Leases;
  readonly members: Members;
  readonly #store: StateStore;

  /** All four hold the same state: rows as of store.applied, and what is derived from them. */
  constructor(deps: { store: StateStore; mvcc: Mvcc; leases: Leases; members: Members }) {
    this.#store = deps.store;
    this.mvcc = deps.mvcc;
    this.leases = deps.leases;
    this.members = deps.members;
  }

  /** The last entry applied. */
  appliedId(): { readonly term: Term; readonly index: Index } {
    const { term, index } = this.#store.applied;
    return { term, index };
  }

  /** Applies the next entry. */
  apply(entry: MachineEntry): AppliedEntry {
    const { index } = this.#store.applied;
    assert(entry.index === index + 1, `entry ${entry.index} does not follow ${index}`);
    const command = decodeCommand(entry);
    const result = command === null ? nothing : this.#run(command.request, entry);
    this.#store.commit({ index: entry.index, term: entry.term, ...this.mvcc.summary() });
    return { ...result, proposal: command?.proposal ?? null };
  }

  /** What a transaction would do at the newest applied revision; for those that only read. */
  planTxn(request: TxnRequest): TxnPlan | ErrorCode {
    const plan = planTxn(request, this.mvcc);
    return checkTxn(plan, { before: this.mvcc, leases: this.leases }) ?? plan;
  }

  #run(request: CommandRequest | undefined, entry: MachineEntry): Result {
    switch (request?.$case) {
      case "put":
        return this.#put(request.value);
      case "deleteRange":
        return this.#deleteRange(request.value);
      case "txn":
        return this.#txn(request.value);
      case "compaction":
        return this.#compact(request.value);
      case "leaseGrant":
        return this.#grant(request.value, entry);
      case "leaseRevoke":
        return this.#revoke(request.value);
      case "leaseExpire":
        return this.#expire(request.value, entry);
      case "memberAttributes":
        return this.#publish(request.value);
      case undefined:
        // Written by a newer version whose commands this one does not know (invariant I31).
        throw new AssertionError(`entry ${entry.index} holds a command that is not known here`);
    }
  }

  #put(request: PutRequest): Result {
    const code = checkPut(request, { before: this.mvcc, leases: this.leases });
    if (code !== null) return refused(code);
    const writer = this.#write();
    const response = writer.put(request);
    return { outcome: { type: "put", response }, events: writer.end() };
  }

  #deleteRange(request: DeleteRangeRequest): Result {
    const writer = this.#write();
    const response = writer.deleteRange(request);
    return { outcome: { type: "deleteRange", response }, events: writer.end() };
  }

  #txn(request: TxnRequest): Result {
    const plan = this.planTxn(request);
    if (typeof plan === "string") return refused(plan);
    const writer = this.#write();
    const responses = runTxn(plan, writer);
    const response = { ...responses, header: revisionHeader(writer.revision()) };
    return { outcome: { type: "txn", response }, events: writer.end() };
  }

  #compact(request: CompactionRequest): Result {
    const code = this.mvcc.compact(request.revision);
    if (code !== null) return refused(code);
    const response = { header: this.#header() };
    return { outcome: { type: "compaction", response }, events: null };
  }

  #grant({ ID, TTL }: LeaseGrantRequest, entry: MachineEntry): Result {
    if (ID === noLease) return refused("leaseNotFound");
    if (TTL > leaseTtlSecondsMax) return refused("leaseTTLTooLarge");
    if (this.leases.has(ID as LeaseId)) return refused("leaseExist");
    this.leases.grant(ID as LeaseId, { ttl: TTL, grantedIndex: entry.index });
    const response = { header: this.#header(), ID, TTL, error: "" };
    return { outcome: { type: "leaseGrant", response }, events: null };
  }

  #revoke({ ID }: LeaseRevokeRequest): Result {
    if (!this.leases.has(ID as LeaseId)) return refused("leaseNotFound");
    const events = this.#revokeAll([ID as LeaseId]);
    const response = { header: this.#header() };
    return { outcome: { type: "leaseRevoke", response }, events };
  }

  // Rule R19: what a leader found expired counts only in its own term. A lease that is gone
  // already, revoked in the meantime, is no mistake; one granted after the leader judged is not
  // the one it found expired, though it has that one's id, and lives on (I44).
  #expire({ IDs, term, judgedIndex }: LeaseExpire, entry: MachineEntry): Result {
    if (term !== entry.term) return nothing;
    const leases = [...new Set(IDs as LeaseId[])].filter((id) => {
      const lease = this.leases.get(id);
      return lease !== undefined && lease.grantedIndex <= judgedIndex;
    });
    return { outcome: { type: "none" }, events: this.#revokeAll(leases) };
  }

  #publish(attributes: MemberAttributes): Result {
    const code = this.members.publish(attributes);
    return code === null ? nothing : refused(code);
  }

  #revokeAll(leases: readonly LeaseId[]): RevisionEvents | null {
    const writer = this.#write();
    writer.revoke(leases);
    return writer.end();
  }

  #write(): Writer {
    return new Writer({ changes: this.mvcc.begin(), leases: this.leases });
  }

  #header(): ReturnType<typeof revisionHeader> {
    return revisionHeader(this.mvcc.revision());
  }
}
