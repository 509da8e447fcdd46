// What an operator sets that only handlers ask for; read from the flags once, in main.ts.

export interface ApiOptions {
  /** Operations in a transaction (--max-txn-ops). */
  readonly txnOpsMax: number;
  /** Of a request (--max-request-bytes); here only the weight that pieces of a stream aim at. */
  readonly requestBytesMax: number;
  /** Shorter TTLs are raised to it: a lease must outlive an election. */
  readonly leaseTtlSecondsMin: number;
  /** A stream that needs a leader is cut after three of these without one. */
  readonly electionMs: number;
  /** Space a member may use, as Status reports it. */
  readonly dbQuotaBytes: number;
}

/** As etcd: one and a half election timeouts, in whole seconds. */
export function leaseTtlSecondsMin(electionMs: number): number {
  return Math.ceil((1.5 * electionMs) / 1000);
}

/** As etcd's --quota-backend-bytes=0. */
export const dbQuotaBytesDefault = 2 * 1024 * 1024 * 1024;
