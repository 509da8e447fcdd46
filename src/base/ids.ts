// Identifiers: full 64-bit values chosen by anyone, so they are decimal strings and never
// JavaScript numbers (house decision 9). Branded: they are compared and hashed, never added to.

/** A member of the cluster: unsigned 64-bit, decimal. */
export type MemberId = string & { readonly brand: "MemberId" };
/** A cluster: unsigned 64-bit, decimal. */
export type ClusterId = string & { readonly brand: "ClusterId" };
/** A lease: signed 64-bit, decimal, never "0" (which means: no lease). */
export type LeaseId = string & { readonly brand: "LeaseId" };
/** A watch within one stream: signed 64-bit, decimal. */
export type WatchId = string & { readonly brand: "WatchId" };
/** Random id made with a data directory, 32 hex digits: tells a wiped member from the old one. */
export type StoreId = string & { readonly brand: "StoreId" };

/** Position in the raft log, from 1; 0 is before the first entry. */
export type Index = number;
/** Election term, from 1; 0 is before the first election. */
export type Term = number;
/** Global counter of the store, from 1 (the empty store); one per committed write. */
export type Revision = number;

export const noLease = "0" as LeaseId;
