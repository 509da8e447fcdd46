// The replicated lease table: which leases exist, their granted TTL, and the keys attached to each.
//
// It knows no time: expiry is decided by the leader's lease keeper and arrives as a command. Rows
// (id, TTL, index of the grant) go to the store with the entry that makes them. Clients choose ids
// and use them again; the index tells one lease of an id from the next. Attachments have no rows: every key
// carries its lease, and on restart they are derived from the key index (attachAll), so a crash
// can never leave the two in disagreement. Invariants: a lease with attached keys exists; a key is
// attached to at most one lease.
import { assert } from "../base/assert.ts";
import { compareBytes } from "../base/bytes.ts";
import { noLease } from "../base/ids.ts";
import type { Index, LeaseId } from "../base/ids.ts";
import { LeaseRow } from "../proto/keelson/command.ts";
import type { StateStore } from "../store/state-store.ts";
import { idRowKey, leaseRowPrefix } from "./row-key.ts";

/** As etcd: 9,000,000,000 seconds; more would overflow its clock. */
export const leaseTtlSecondsMax = 9_000_000_000;

export interface Lease {
  readonly id: LeaseId;
  /** Granted, in seconds. */
  readonly ttl: number;
  /** Of the entry that granted it. */
  readonly grantedIndex: Index;
  readonly keyCount: number;
}

interface LeaseState {
  readonly ttl: number;
  readonly grantedIndex: Index;
  // One character per byte: an identity for hashing, never compared for order.
  readonly keys: Set<string>;
}

export class Leases {
  readonly #store: StateStore;
  readonly #leases = new Map<LeaseId, LeaseState>();

  constructor(deps: { store: StateStore }) {
    this.#store = deps.store;
  }

  /** A row found on restart, before the first entry is applied. */
  restore(rowValue: Uint8Array): void {
    const { ID, TTL, grantedIndex } = LeaseRow.decode(rowValue);
    this.#leases.set(ID as LeaseId, { ttl: TTL, grantedIndex, keys: new Set() });
  }

  has(id: LeaseId): boolean {
    return this.#leases.has(id);
  }

  get(id: LeaseId): Lease | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    const { ttl, grantedIndex, keys } = lease;
    return { id, ttl, grantedIndex, keyCount: keys.size };
  }

  /** In the order granted. */
  list(): LeaseId[] {
    return [...this.#leases.keys()];
  }

  /** The keys attached, in key order; empty when there is no such lease. */
  keys(id: LeaseId): Uint8Array[] {
    const lease = this.#leases.get(id);
    return lease === undefined ? [] : [...lease.keys].map(bytesOf).sort(compareBytes);
  }

  grant(id: LeaseId, { ttl, grantedIndex }: { ttl: number; grantedIndex: Index }): void {
    assert(id !== noLease && !this.#leases.has(id), `lease ${id} cannot be granted`);
    this.#leases.set(id, { ttl, grantedIndex, keys: new Set() });
    const row = LeaseRow.encode({ ID: id, TTL: ttl, grantedIndex }).finish();
    this.#store.put(idRowKey(leaseRowPrefix, id), row);
  }

  /** The lease must have no keys left. */
  revoke(id: LeaseId): void {
    const lease = this.#leases.get(id);
    assert(lease !== undefined && lease.keys.size === 0, `lease ${id} cannot be revoked`);
    this.#leases.delete(id);
    this.#store.delete(idRowKey(leaseRowPrefix, id));
  }

  attach(id: LeaseId, key: Uint8Array): void {
    const lease = this.#leases.get(id);
    assert(lease !== undefined, `no lease ${id} to attach to`);
    lease.keys.add(identityOf(key));
  }

  detach(id: LeaseId, key: Uint8Array): void {
    const removed = this.#leases.get(id)?.keys.delete(identityOf(key));
    assert(removed === true, `key was not attached to lease ${id}`);
  }
}

// fromCharCode takes its arguments on the stack: long keys go in pieces.
const pieceBytes = 4096;

function identityOf(key: Uint8Array): string {
  if (key.length <= pieceBytes) return String.fromCharCode(...key);
  let identity = "";
  for (let at = 0; at < key.length; at += pieceBytes) {
    identity += String.fromCharCode(...key.subarray(at, at + pieceBytes));
  }
  return identity;
}

function bytesOf(identity: string): Uint8Array {
  const key = new Uint8Array(identity.length);
  for (let i = 0; i < identity.length; i++) key[i] = identity.charCodeAt(i);
  return key;
}
