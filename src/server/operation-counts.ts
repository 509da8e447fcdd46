// What this member has applied and read since its start, for the metrics: additions, and read when
// somebody scrapes. As etcd counts: an operation inside a transaction counts as one of its kind,
// deletes are keys, and only a transaction of several operations counts as a transaction. Entries
// that a start applies again from the log count too. What was refused counts nowhere here.
import type { ResponseOp } from "../proto/etcdserverpb/kv.ts";
import type { Outcome } from "../state/outcome.ts";

export interface OperationCounted {
  readonly puts: number;
  readonly deletedKeys: number;
  readonly ranges: number;
  readonly txns: number;
  readonly leasesGranted: number;
  readonly leasesRevoked: number;
}

export class OperationCounts {
  readonly #counts = {
    puts: 0,
    deletedKeys: 0,
    ranges: 0,
    txns: 0,
    leasesGranted: 0,
    leasesRevoked: 0,
  };

  counts(): OperationCounted {
    return { ...this.#counts };
  }

  /** One range outside of apply. */
  ranged(): void {
    this.#counts.ranges++;
  }

  applied(outcome: Outcome): void {
    switch (outcome.type) {
      case "put":
        this.#counts.puts++;
        return;
      case "deleteRange":
        this.#counts.deletedKeys += outcome.response.deleted;
        return;
      case "txn":
        if (this.#ran(outcome.response.responses) > 1) this.#counts.txns++;
        return;
      case "leaseGrant":
        this.#counts.leasesGranted++;
        return;
      case "leaseRevoke":
        this.#counts.leasesRevoked++;
        return;
      case "compaction":
      case "error":
      case "none":
    }
  }

  /** The operations that a transaction ran, nested ones too. */
  #ran(responses: readonly ResponseOp[]): number {
    let count = 0;
    for (const { response } of responses) {
      count++;
      switch (response?.$case) {
        case "responsePut":
          this.#counts.puts++;
          break;
        case "responseRange":
          this.#counts.ranges++;
          break;
        case "responseDeleteRange":
          this.#counts.deletedKeys += response.value.deleted;
          break;
        case "responseTxn":
          count += this.#ran(response.value.responses) - 1;
          break;
        case undefined:
      }
    }
    return count;
  }
}
