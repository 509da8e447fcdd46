// Who made each revision of the log that no answered write claims: a write of unknown outcome, each
// used at most once, or leases that ended. A revision without a maker is an operation applied
// twice, or one that nobody called.
//
// Which unknown write made which revision is a matching: a candidate makes exactly what the log has
// there, and was called before anyone was told of that revision or a later one.
import { Violation } from "../sim/violation.ts";
import type { Call, Operation, Placed } from "./operation.ts";
import { plainText } from "./operation.ts";
import type { RevisionLog } from "./revision-log.ts";
import { keyText, makes, run } from "./sequential-model.ts";

export function matchMakers(
  log: RevisionLog,
  operations: readonly Operation[],
  placed: readonly Placed[],
): { placed: Placed[]; violations: Violation[] } {
  const claimed = new Set<number>();
  for (const { isMaker, revision } of placed) if (isMaker) claimed.add(revision);
  const toldFirst = firstTold(log.revision(), placed);
  const candidates = new Candidates(log, operations);
  const violations: Violation[] = [];
  for (let revision = 2; revision <= log.revision(); revision++) {
    if (claimed.has(revision)) continue;
    const toldAt = toldFirst[revision] ?? Infinity;
    if (candidates.match(revision, toldAt) || isLeaseEnd(log, revision)) continue;
    const what = plainText(log.changesAt(revision));
    violations.push(
      new Violation(
        "I28",
        `revision ${revision} was made by no operation, or by one again: ${what}`,
      ),
    );
  }
  return { placed: candidates.placed(), violations };
}

/** By revision: the first return that told of it or of a later one. */
function firstTold(newest: number, placed: readonly Placed[]): number[] {
  const told = Array.from({ length: newest + 1 }, () => Infinity);
  for (const { operation, revision } of placed) {
    told[revision] = Math.min(told[revision] ?? Infinity, operation.returned);
  }
  for (let revision = newest - 1; revision >= 0; revision--) {
    told[revision] = Math.min(told[revision] ?? Infinity, told[revision + 1] ?? Infinity);
  }
  return told;
}

class Candidates {
  readonly #log: RevisionLog;
  /** By each key that they name; those that may change any key. */
  readonly #byKey = new Map<string, Operation[]>();
  readonly #wide: Operation[] = [];
  readonly #revisionOf = new Map<Operation, number>();
  readonly #toldAt = new Map<number, number>();

  constructor(log: RevisionLog, operations: readonly Operation[]) {
    this.#log = log;
    for (const operation of operations) {
      const { call, outcome } = operation;
      if (outcome.type !== "unknown") continue;
      const keys = new Set<string>();
      if (!namesKeys(call, keys)) {
        this.#wide.push(operation);
        continue;
      }
      for (const key of keys) {
        const same = this.#byKey.get(key);
        if (same === undefined) this.#byKey.set(key, [operation]);
        else same.push(operation);
      }
    }
  }

  /** Finds it a maker; others may have to change theirs. */
  match(revision: number, toldAt: number): boolean {
    this.#toldAt.set(revision, toldAt);
    return this.#augment(revision, new Set());
  }

  placed(): Placed[] {
    return Array.from(this.#revisionOf, ([operation, revision]) => ({
      operation,
      revision,
      isMaker: true,
    }));
  }

  #augment(revision: number, tried: Set<Operation>): boolean {
    const changes = this.#log.changesAt(revision);
    const named = this.#byKey.get(changes[0]?.key ?? "") ?? [];
    const view = this.#log.viewAt(revision - 1);
    const toldAt = this.#toldAt.get(revision) ?? Infinity;
    for (const operation of [...named, ...this.#wide]) {
      if (tried.has(operation) || operation.called > toldAt) continue;
      if (!makes(run(view, operation.call), changes)) continue;
      tried.add(operation);
      const other = this.#revisionOf.get(operation);
      if (other !== undefined && !this.#augment(other, tried)) continue;
      this.#revisionOf.set(operation, revision);
      return true;
    }
    return false;
  }
}

/** Collects the keys that a write may change; false: a range of them, or a lease's. */
function namesKeys(call: Call, keys: Set<string>): boolean {
  switch (call.type) {
    case "put":
      keys.add(keyText(call.request.key));
      return true;
    case "deleteRange":
      keys.add(keyText(call.request.key));
      return call.request.rangeEnd.length === 0;
    case "txn":
      return [...call.request.success, ...call.request.failure].every(({ request }) => {
        switch (request?.$case) {
          case "requestPut":
            return namesKeys({ type: "put", request: request.value }, keys);
          case "requestTxn":
            return namesKeys({ type: "txn", request: request.value }, keys);
          case "requestDeleteRange":
            return namesKeys({ type: "deleteRange", request: request.value }, keys);
          case "requestRange":
          case undefined:
            return true;
        }
      });
    case "range":
    case "compaction":
    case "leaseGrant":
      return true;
    case "leaseRevoke":
    case "leaseExpire":
      return false;
  }
}

/** Only deletes, and of each lease concerned all its keys. */
function isLeaseEnd(log: RevisionLog, revision: number): boolean {
  const ended = new Set<string>();
  const deleted = new Set<string>();
  for (const { key, pair } of log.changesAt(revision)) {
    const lease = log.find(key, revision - 1)?.lease ?? "0";
    if (pair !== null || lease === "0") return false;
    ended.add(lease);
    deleted.add(key);
  }
  const attached = log
    .pairs("", undefined, revision - 1)
    .filter(({ lease }) => ended.has(lease))
    .map(({ key }) => keyText(key));
  return attached.every((key) => deleted.has(key));
}
